//! The scripts that Cloud Assistant runs: each only starts the plug-in that
//! lies on the instance (cloud-assistant.md section 5.3).

use crate::model::OsFamily;

/// Where the plug-in lies on Linux.
pub const LINUX_PLUGIN: &str = "/usr/local/lib/strongroom/strongroom-rotator";

/// The one parameter of the commands.
pub const REQUEST_PARAMETER: &str = "SR_REQUEST";

/// The shell replaces itself by the plug-in, so that the time limit meets the
/// plug-in and not a parent of it.
const LINUX: &str = r#"#!/bin/sh
P=/usr/local/lib/strongroom/strongroom-rotator
if [ ! -x "$P" ]; then
  echo '{"strongroom":1,"ok":false,"code":"plugin_missing","changed":false,"final":false}'; exit 16
fi
exec "$P" run --instance '{{ACS::InstanceId}}' --request '{{SR_REQUEST}}'
"#;

/// The plug-in itself for Windows: a script, so that it comes with the vault.
pub const WINDOWS_PLUGIN: &str = include_str!("../../../plugin/windows.ps1");

/// The lines are written one by one: what comes out of a pipeline is folded at
/// the width of a console that nobody sees.
const WINDOWS: &str = r#"$B = $env:ProgramW6432
if (-not $B) { $B = $env:ProgramFiles }
$P = [IO.Path]::Combine($B, 'Strongroom\strongroom-rotator.ps1')
if (-not [IO.File]::Exists($P)) {
  [Console]::Out.WriteLine('{"strongroom":1,"ok":false,"code":"plugin_missing","changed":false,"final":false}')
  exit 16
}
$lines = & powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File $P run -Instance '{{ACS::InstanceId}}' -Request '{{SR_REQUEST}}'
$code = $LASTEXITCODE
foreach ($line in $lines) { [Console]::Out.WriteLine($line) }
exit $code
"#;

/// The name under which the operator creates the command in a region.
#[must_use]
pub const fn command_name(os: OsFamily) -> &'static str {
    match os {
        OsFamily::Linux => "STRONGROOM-RotateECSSecret-For-Linux.sh",
        OsFamily::Windows => "STRONGROOM-RotateECSSecret-For-Windows.ps1",
    }
}

/// The text of the script.
#[must_use]
pub const fn script(os: OsFamily) -> &'static str {
    match os {
        OsFamily::Linux => LINUX,
        OsFamily::Windows => WINDOWS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_ascii_and_name_parameter_and_plug_in() {
        for os in [OsFamily::Linux, OsFamily::Windows] {
            let text = script(os);
            assert!(text.is_ascii());
            assert!(text.contains(&format!("'{{{{{REQUEST_PARAMETER}}}}}'")));
            assert!(text.contains("'{{ACS::InstanceId}}'"));
        }
        assert!(LINUX.contains(&format!("P={LINUX_PLUGIN}\n")));
        assert!(WINDOWS_PLUGIN.is_ascii());
    }

    #[test]
    fn the_linux_script_reports_a_missing_plug_in_when_run() {
        let script = LINUX.replace(LINUX_PLUGIN, "/nonexistent/strongroom-rotator");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(output.status.code(), Some(16));
        assert!(output.stdout.starts_with(b"{\"strongroom\":1,"));
    }
}
