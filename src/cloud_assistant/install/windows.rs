//! The PowerShell scripts of an installation on Windows, for 5.1 and later.
//! ASCII only: the agent converts between code pages.

use super::piece::{Piece, sha256};

/// The scripts that install one program. Each ends by printing `SR-DONE`.
pub(super) struct Scripts {
    /// SHA-256 of the program, in hexadecimal.
    pub(super) program: String,
}

impl Scripts {
    pub(super) fn new(program: &[u8]) -> Self {
        Self { program: sha256(program) }
    }

    /// What all scripts begin with. `$F` is the plug-in's place, `$P` its
    /// folder, `$D` the folder of the pieces; `Sum` gives the SHA-256 of bytes.
    fn head(&self) -> String {
        let short: String = self.program.chars().take(8).collect();
        format!(
            r#"$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$B = $env:ProgramW6432
if (-not $B) {{ $B = $env:ProgramFiles }}
$P = [IO.Path]::Combine($B, 'Strongroom')
$F = [IO.Path]::Combine($P, 'strongroom-rotator.ps1')
$D = [IO.Path]::Combine($P, '.incoming-{short}')
function Sum([byte[]] $bytes) {{
  $sha = [Security.Cryptography.SHA256]::Create()
  [BitConverter]::ToString($sha.ComputeHash($bytes)).Replace('-', '').ToLowerInvariant()
}}
function Say([string] $line) {{ [Console]::Out.WriteLine($line) }}
"#
        )
    }

    pub(super) fn probe(&self) -> String {
        self.head()
            + r#"Say 'SR-GZIP'
if ([IO.File]::Exists($F)) { Say "SR-INSTALLED $(Sum ([IO.File]::ReadAllBytes($F)))" }
if ([IO.Directory]::Exists($D)) {
  foreach ($piece in [IO.Directory]::GetFiles($D, '*.piece')) {
    Say "SR-PIECE $([IO.Path]::GetFileNameWithoutExtension($piece)) $((Sum ([IO.File]::ReadAllBytes($piece))).Substring(0, 16))"
  }
}
Say 'SR-DONE'
"#
    }

    /// Nobody but SYSTEM and the administrators may write where the plug-in
    /// lies, whatever the folder of programs allows.
    pub(super) fn piece(&self, piece: &Piece<'_>) -> String {
        let Piece { name, hash, .. } = piece;
        let lines = piece.lines();
        self.head()
            + &format!(
                r#"foreach ($folder in $P, $D) {{
  $null = [IO.Directory]::CreateDirectory($folder)
  if ([IO.File]::GetAttributes($folder) -band [IO.FileAttributes]::ReparsePoint) {{ Say "$folder is a link"; exit 21 }}
}}
$null = & "$env:SystemRoot\System32\icacls.exe" $P /inheritance:r /grant:r '*S-1-5-18:(OI)(CI)F' '*S-1-5-32-544:(OI)(CI)F' '*S-1-5-32-545:(OI)(CI)RX'
if ($LASTEXITCODE -ne 0) {{ Say "the rights of $P cannot be set"; exit 24 }}
$bytes = [Convert]::FromBase64String(@'
{lines}
'@)
if ((Sum $bytes) -ne '{hash}') {{ Say 'the piece arrived damaged'; exit 22 }}
$T = [IO.Path]::Combine($D, "part.$PID")
$G = [IO.Path]::Combine($D, '{name}.piece')
[IO.File]::WriteAllBytes($T, $bytes)
if ([IO.File]::Exists($G)) {{ [IO.File]::Delete($G) }}
[IO.File]::Move($T, $G)
Say 'SR-DONE'
"#
            )
    }

    /// `packed` says that the pieces are those of the program in gzip's form.
    pub(super) fn place(&self, count: usize, packed: bool) -> String {
        let hash = &self.program;
        let source = if packed {
            "New-Object IO.Compression.GZipStream($all, [IO.Compression.CompressionMode]::Decompress)"
        } else {
            "$all"
        };
        self.head()
            + &format!(
                r#"if ([IO.File]::Exists($F) -and (Sum ([IO.File]::ReadAllBytes($F))) -eq '{hash}') {{
  if ([IO.Directory]::Exists($D)) {{ [IO.Directory]::Delete($D, $true) }}
  Say 'SR-DONE'; exit 0
}}
$all = New-Object IO.MemoryStream
for ($i = 0; $i -lt {count}; $i++) {{
  $bytes = [IO.File]::ReadAllBytes([IO.Path]::Combine($D, $i.ToString('0000') + '.piece'))
  $all.Write($bytes, 0, $bytes.Length)
}}
$null = $all.Seek(0, [IO.SeekOrigin]::Begin)
$whole = New-Object IO.MemoryStream
try {{ $source = {source}; $source.CopyTo($whole) }} catch {{ $whole.SetLength(0) }}
$bytes = $whole.ToArray()
if ((Sum $bytes) -ne '{hash}') {{ [IO.Directory]::Delete($D, $true); Say 'the program arrived damaged'; exit 23 }}
$T = [IO.Path]::Combine($P, "new.$PID")
$file = New-Object IO.FileStream($T, [IO.FileMode]::Create, [IO.FileAccess]::Write, [IO.FileShare]::None)
try {{ $file.Write($bytes, 0, $bytes.Length); $file.Flush($true) }} finally {{ $file.Dispose() }}
if ([IO.File]::Exists($F)) {{ [IO.File]::Replace($T, $F, [NullString]::Value) }} else {{ [IO.File]::Move($T, $F) }}
[IO.Directory]::Delete($D, $true)
foreach ($old in [IO.Directory]::GetDirectories($P, '.incoming-*')) {{
  if ([IO.Directory]::GetLastWriteTimeUtc($old) -lt [DateTime]::UtcNow.AddDays(-1)) {{ [IO.Directory]::Delete($old, $true) }}
}}
Say 'SR-DONE'
"#
            )
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::super::PIECE;
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
        assert!(scripts.probe().is_ascii() && scripts.place(3, true).is_ascii());
    }
}
