//! The shell scripts of an installation on Linux.

use super::piece::{Piece, sha256};
use crate::cloud_assistant::plugin::LINUX_PLUGIN;

/// The scripts that install one program. Each ends by printing `SR-DONE`.
pub(super) struct Scripts {
    /// SHA-256 of the program, in hexadecimal.
    pub(super) program: String,
}

impl Scripts {
    pub(super) fn new(program: &[u8]) -> Self {
        Self { program: sha256(program) }
    }

    /// What all scripts begin with. `$F` is the program's place, `$P` its
    /// folder, `$D` the folder of the pieces; `sum` prints the SHA-256 of a file.
    fn head(&self) -> String {
        let short: String = self.program.chars().take(8).collect();
        format!(
            r#"#!/bin/sh
set -eu
umask 077
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
F={LINUX_PLUGIN}
P=${{F%/*}}
D=$P/.incoming-{short}
for tool in sha256sum base64; do
  command -v $tool >/dev/null || {{ echo "$tool is not installed"; exit 20; }}
done
sum() {{ set -- $(sha256sum <"$1"); echo "$1"; }}
"#
        )
    }

    pub(super) fn probe(&self) -> String {
        // A piece is told by the first 16 digits of its hash, which are enough
        // against accidents: the whole is checked before it is put in place.
        self.head()
            + r#"if command -v gzip >/dev/null; then echo SR-GZIP; fi
if [ -f "$F" ] && [ -x "$F" ] && [ ! -L "$F" ]; then echo "SR-INSTALLED $(sum "$F")"; fi
for p in "$D"/*.piece; do
  [ -f "$p" ] || continue
  n=${p##*/}
  echo "SR-PIECE ${n%.piece} $(sum "$p" | cut -c 1-16)"
done
echo SR-DONE
"#
    }

    /// The folders must be root's own and no links: on some systems others may
    /// write beside them.
    pub(super) fn piece(&self, piece: &Piece<'_>) -> String {
        let Piece { name, hash, .. } = piece;
        let lines = piece.lines();
        self.head()
            + &format!(
                r#"[ -d "$P" ] || mkdir -p -m 755 "$P"
[ -d "$D" ] || mkdir -m 700 "$D" 2>/dev/null || [ -d "$D" ]
for d in "$P" "$D"; do
  if [ -L "$d" ] || [ ! -O "$d" ]; then echo "$d is not a folder of root"; exit 21; fi
done
T=$D/part.$$
base64 -d >"$T" <<'SR-END'
{lines}
SR-END
[ "$(sum "$T")" = {hash} ] || {{ echo "the piece arrived damaged"; rm -f "$T"; exit 22; }}
mv -f "$T" "$D/{name}.piece"
echo SR-DONE
"#
            )
    }

    /// `packed` says that the pieces are those of the program in gzip's form.
    pub(super) fn place(&self, count: usize, packed: bool) -> String {
        let hash = &self.program;
        let unpack = if packed {
            "mv -f \"$T\" \"$T.gz\"; gzip -dc <\"$T.gz\" >\"$T\" || :; rm -f \"$T.gz\"\n"
        } else {
            ""
        };
        self.head()
            + &format!(
                r#"if [ -x "$F" ] && [ ! -L "$F" ] && [ "$(sum "$F")" = {hash} ]; then rm -rf "$D"; echo SR-DONE; exit 0; fi
T=$D/whole.$$
: >"$T"
i=0
while [ $i -lt {count} ]; do
  cat "$D/$(printf %04d $i).piece" >>"$T"
  i=$((i+1))
done
{unpack}[ "$(sum "$T")" = {hash} ] || {{ echo "the program arrived damaged"; rm -rf "$D"; exit 23; }}
chown 0:0 "$T"
chmod 755 "$T"
sync "$T" || sync
mv -f "$T" "$F"
if command -v restorecon >/dev/null; then restorecon "$F" || :; fi
sync "$P" || sync
rm -rf "$D"
find "$P" -maxdepth 1 -type d -name '.incoming-*' -mtime +1 -exec rm -rf {{}} + || :
echo SR-DONE
"#
            )
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::super::{MAX_PROGRAM, PIECE};
    use super::*;

    #[test]
    fn every_command_fits_its_limit_and_is_ascii() {
        let program = vec![0xa5; 3 * PIECE];
        let scripts = Scripts::new(&program);
        for piece in program.chunks(PIECE).enumerate().map(Piece::new) {
            let script = scripts.piece(&piece);
            assert!(script.is_ascii());
            let length = BASE64.encode(script.as_bytes()).len();
            assert!((23_000..24_000).contains(&length), "{length}");
        }
    }

    #[test]
    fn the_list_of_all_pieces_fits_the_output_that_an_agent_keeps() {
        let mark = Piece::new((0, b"x".as_slice())).mark();
        assert!(MAX_PROGRAM.div_ceil(PIECE) * (mark.len() + 1) < 11_500);
    }
}
