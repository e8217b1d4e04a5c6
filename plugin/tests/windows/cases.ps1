# Executes plugin/windows.ps1 with stand-ins for everything that touches Windows,
# on any system with PowerShell 7: real keys, real seals, a pretended account.
# Prints a line per case, then a summary in the form of `cargo test`.
param([Parameter(Mandatory)] [string] $Plugin)

. $Plugin

$script:Folder = Join-Path ([IO.Path]::GetTempPath()) ([Guid]::NewGuid().ToString('n'))
$null = New-Item -ItemType Directory -Path $script:Folder
$script:Clock = [long] 1000
$script:Account = $null
$script:InForce = 'none'
$script:SetAnswer = 0
$script:TryAnswer = $null
$script:Flushes = 0
$script:Passed = 0
$script:Failed = 0

# The stand-ins.
function Get-Now { return $script:Clock }
function Get-SystemName { return 'Stand-in 1' }
function Test-Elevated { return $script:Elevated }
function Initialize-Folder { return $script:Folder }
function Get-AccountFacts([string] $User) { return $script:Account }
function Save-Accounts { $script:Flushes++ }

Import-Types
[Strongroom.Native]::Protect = { param([byte[]] $bytes) return , $bytes.Clone() }
[Strongroom.Native]::Unprotect = { param([byte[]] $bytes) return , $bytes.Clone() }
[Strongroom.Native]::Replace = { param($from, $to) [IO.File]::Move($from, $to, $true); return 0 }
[Strongroom.Native]::SetPassword = {
    param($user, $password)
    if ($script:SetAnswer -eq 0) { $script:InForce = -join $password; $script:Account.last_set = $script:Clock }
    return $script:SetAnswer
}
[Strongroom.Native]::TryPassword = {
    param($user, $password, $rid)
    if ($null -ne $script:TryAnswer) { return $script:TryAnswer }
    if ($script:InForce -ceq (-join $password)) { return 0 }
    return 1326
}

function Reset-World {
    Get-ChildItem -LiteralPath $script:Folder | Remove-Item -Force
    $script:Clock = [long] 1000
    $script:Elevated = $true
    $script:InForce = 'none'
    $script:SetAnswer = 0
    $script:TryAnswer = $null
    $script:Account = @{
        problem = 0; domain_controller = $false; laps = $false; rid = 500; disabled = $false
        locked = $false; expired = $false; must_change = $false; last_set = [long] 0
    }
}

function New-Request([string] $Op, [string] $Letter, [int] $Gen) {
    return [ordered] @{ v = 1; op = $Op; sid = '0' * 32; rid = $Letter * 32; gen = $Gen; att = 1; inst = 'i-w'; user = 'Administrator'; kind = 'password' }
}

function ConvertTo-Base64Url([byte[]] $Bytes) { return [Convert]::ToBase64String($Bytes).TrimEnd('=').Replace('+', '-').Replace('/', '_') }

function Send-Request([object] $Request, [string] $Instance = 'i-w') {
    $json = ConvertTo-Json -InputObject $Request -Compress -Depth 5
    $answer = Get-Answer $Instance (ConvertTo-Base64Url ([Text.Encoding]::ASCII.GetBytes($json)))
    $result = ConvertFrom-Json -InputObject $answer.line
    $result | Add-Member -NotePropertyName exit -NotePropertyValue $answer.exit
    return $result
}

# Seals as the vault does.
function Add-Seal([object] $Request, [object] $Prepared, [string] $Password) {
    $rsa = [Security.Cryptography.RSA]::Create()
    $read = 0
    $rsa.ImportSubjectPublicKeyInfo([Convert]::FromBase64String($Prepared.pub), [ref] $read)
    $key = [byte[]] (1..32)
    $iv = [byte[]] (1..12)
    $text = [Text.Encoding]::ASCII.GetBytes((ConvertTo-Json -Compress ([ordered] @{ password = $Password; token = 'ab' * 32 })))
    $purpose = "strongroom-v1|$($Request.op)|$($Request.sid)|$($Request.rid)|$($Request.gen)|i-w|password|QWRtaW5pc3RyYXRvcg"
    $ct = [byte[]]::new($text.Length)
    $tag = [byte[]]::new(16)
    $aes = [Security.Cryptography.AesGcm]::new($key)
    $aes.Encrypt($iv, $text, $ct, $tag, [Text.Encoding]::ASCII.GetBytes($purpose))
    $ek = $rsa.Encrypt([Text.Encoding]::ASCII.GetBytes((ConvertTo-Base64Url $key)), [Security.Cryptography.RSAEncryptionPadding]::OaepSHA256)
    $Request['enc'] = @{ kid = $Prepared.kid; ek = ConvertTo-Base64Url $ek; iv = ConvertTo-Base64Url $iv; ct = ConvertTo-Base64Url ([byte[]] ($ct + $tag)) }
    return $Request
}

function Test-Outcome([object] $Result, [string] $Code, [string] $Live, [bool] $Final) {
    if ($Result.code -ne $Code -or $Result.live -ne $Live -or $Result.final -ne $Final) {
        throw "expected $Code $Live $Final, found $($Result.code) $($Result.live) $($Result.final) $($Result.detail)"
    }
}

function Test-That([bool] $Holds, [string] $What) { if (-not $Holds) { throw $What } }

function Test-Case([string] $Name, [scriptblock] $Body) {
    Reset-World
    try {
        & $Body
        $script:Passed++
        [Console]::Out.WriteLine("test $Name ... ok")
    } catch {
        $script:Failed++
        [Console]::Out.WriteLine("test $Name ... FAILED: $($_.Exception.Message) at line $($_.InvocationInfo.ScriptLineNumber)")
    }
}

Test-Case 'a password is sealed, set, proved, and its key deleted' {
    $prepared = Send-Request (New-Request 'prepare' 'a' 1)
    Test-Outcome $prepared 'ok' 'old' $false
    Test-That ((Send-Request (New-Request 'prepare' 'a' 1)).kid -eq $prepared.kid) 'the key was not reused'
    $apply = Add-Seal (New-Request 'apply' 'a' 1) $prepared 'Correct-"Horse\-1'
    $applied = Send-Request $apply
    Test-Outcome $applied 'ok' 'new' $false
    Test-That ($script:InForce -ceq 'Correct-"Horse\-1') 'another password was set'
    Test-That ($script:Flushes -gt 0) 'the account database was not flushed'
    Test-That ($applied.exit -eq 0 -and $applied.proof.token_sha256.Length -eq 64) 'no proof'
    Test-Outcome (Send-Request $apply) 'already' 'new' $false
    $verified = Send-Request (New-Request 'verify' 'a' 1)
    Test-Outcome $verified 'ok' 'new' $false
    Test-That ($verified.proof.token_sha256 -ceq $applied.proof.token_sha256) 'another proof'
    Test-Outcome (Send-Request (New-Request 'finalize' 'a' 1)) 'ok' 'new' $false
    Test-That (-not (Test-Path (Join-Path $script:Folder '*.key'))) 'the key was kept'
    Test-Outcome (Send-Request $apply) 'already' 'new' $true
    $journal = Get-Content -Raw (Join-Path $script:Folder ('0' * 32 + '.json'))
    Test-That (-not $journal.Contains('Horse')) 'the journal has the password'
}

Test-Case 'what is sealed serves for its own request and while the key lives' {
    $prepared = Send-Request (New-Request 'prepare' 'a' 1)
    $other = Add-Seal (New-Request 'status' 'a' 1) $prepared 'Correct-Horse-1'
    $other['op'] = 'apply'
    Test-Outcome (Send-Request $other) 'decrypt_failed' 'old' $false
    $apply = Add-Seal (New-Request 'apply' 'a' 1) $prepared 'Correct-Horse-1'
    $script:Clock = 1900
    Test-Outcome (Send-Request $apply) 'key_expired' 'old' $false
    $script:Clock = 1899
    Test-Outcome (Send-Request $apply) 'ok' 'new' $false
}

foreach ($flag in @(@('domain_controller', 'domain_controller'), @('laps', 'laps_managed'), @('disabled', 'account_disabled'), @('expired', 'account_expired'), @('locked', 'account_locked'))) {
    Test-Case "$($flag[1]) is named for good" {
        $prepared = Send-Request (New-Request 'prepare' 'a' 1)
        $script:Account[$flag[0]] = $true
        Test-Outcome (Send-Request (New-Request 'prepare' 'b' 2)) $flag[1] 'old' $true
        $apply = Add-Seal (New-Request 'apply' 'a' 1) $prepared 'Correct-Horse-1'
        $refused = Send-Request $apply
        Test-Outcome $refused $flag[1] 'old' $true
        Test-That ($refused.exit -eq 11 -and $script:InForce -eq 'none') 'something was set'
        Test-Outcome (Send-Request $apply) 'fenced' 'old' $true
    }
}

Test-Case 'the policy refuses for good unless the password is in force already' {
    $script:SetAnswer = 2245
    $apply = Add-Seal (New-Request 'apply' 'a' 1) (Send-Request (New-Request 'prepare' 'a' 1)) 'weak'
    Test-Outcome (Send-Request $apply) 'policy_refused' 'old' $true
    $script:SetAnswer = 0
    $apply = Add-Seal (New-Request 'apply' 'b' 2) (Send-Request (New-Request 'prepare' 'b' 2)) 'Correct-Horse-1'
    $script:TryAnswer = 1909
    Test-Outcome (Send-Request $apply) 'verify_failed' 'unknown' $false
    $script:TryAnswer = $null
    $script:SetAnswer = 2245
    Test-Outcome (Send-Request $apply) 'already' 'new' $false
}

Test-Case 'a status with the password says what a cut-off apply left' {
    $prepared = Send-Request (New-Request 'prepare' 'a' 1)
    $script:TryAnswer = 5
    Test-Outcome (Send-Request (Add-Seal (New-Request 'apply' 'a' 1) $prepared 'Correct-Horse-1')) 'verify_failed' 'unknown' $false
    $script:TryAnswer = $null
    Test-Outcome (Send-Request (New-Request 'status' 'a' 1)) 'ok' 'unknown' $false
    Test-Outcome (Send-Request (Add-Seal (New-Request 'status' 'a' 1) $prepared 'Correct-Horse-1')) 'ok' 'new' $false
    Test-Outcome (Send-Request (New-Request 'status' 'a' 1)) 'ok' 'new' $false
}

Test-Case 'a fence shuts out the rotation' {
    $prepared = Send-Request (New-Request 'prepare' 'a' 1)
    Test-Outcome (Send-Request (New-Request 'fence' 'a' 1)) 'ok' 'old' $true
    Test-Outcome (Send-Request (Add-Seal (New-Request 'apply' 'a' 1) $prepared 'Correct-Horse-1')) 'fenced' 'old' $true
    Test-Outcome (Send-Request (New-Request 'prepare' 'b' 1)) 'fenced' 'old' $true
    Test-Outcome (Send-Request (New-Request 'prepare' 'b' 2)) 'ok' 'old' $false
    Test-Outcome (Send-Request (New-Request 'prepare' 'c' 2)) 'wrong_rid' 'old' $true
}

Test-Case 'a change from outside is noticed and overcome' {
    $prepared = Send-Request (New-Request 'prepare' 'a' 1)
    $apply = Add-Seal (New-Request 'apply' 'a' 1) $prepared 'Correct-Horse-1'
    Test-Outcome (Send-Request $apply) 'ok' 'new' $false
    $script:InForce = 'by hand'
    $script:Account.last_set = 1100
    $script:Clock = 1200
    $verified = Send-Request (New-Request 'verify' 'a' 1)
    Test-Outcome $verified 'verify_failed' 'unknown' $false
    Test-That ($verified.warn -contains 'changed_outside') 'it is not said'
    $status = Add-Seal (New-Request 'status' 'a' 1) $prepared 'Correct-Horse-1'
    Test-Outcome (Send-Request $status) 'ok' 'other' $false
    Test-Outcome (Send-Request (New-Request 'status' 'a' 1)) 'ok' 'unknown' $false
    Test-Outcome (Send-Request $apply) 'ok' 'new' $false
}

Test-Case 'what makes no sense here is refused before anything is touched' {
    $key = New-Request 'apply' 'a' 1
    $key['kind'] = 'sshkey'
    foreach ($bad in $key, (New-Request 'apply' 'a' 1), (New-Request 'explode' 'a' 1), (New-Request 'status' 'a' 0), (New-Request 'status' 'x' 1)) {
        $result = Send-Request $bad
        Test-That ($result.code -eq 'bad_request' -and $result.exit -eq 15) "it was taken: $($result.code)"
    }
    Test-That ((Send-Request (New-Request 'status' 'a' 1) 'i-v').code -eq 'wrong_instance') 'another instance was taken'
    $script:Elevated = $false
    Test-That ((Send-Request (New-Request 'status' 'a' 1)).code -eq 'not_root') 'an ordinary user was taken'
    Test-That (@(Get-ChildItem -LiteralPath $script:Folder).Count -eq 0) 'something was written'
}

Test-Case 'a lock that is held is waited for, and then said' {
    $held = [IO.File]::Open((Join-Path $script:Folder 'user-administrator.lock'), 'OpenOrCreate', 'ReadWrite', 'None')
    $script:LockSeconds = 0
    try { $busy = Send-Request (New-Request 'status' 'a' 1) } finally { $held.Dispose(); $script:LockSeconds = 10 }
    Test-That ($busy.code -eq 'busy' -and $busy.exit -eq 14) "it was $($busy.code)"
}

Test-Case 'a damaged journal is kept and said, and leaves a doubt' {
    Set-Content -NoNewline (Join-Path $script:Folder ('0' * 32 + '.json')) '{'
    Test-Outcome (Send-Request (New-Request 'status' 'a' 1)) 'ok' 'unknown' $false
    $prepared = Send-Request (New-Request 'prepare' 'a' 1)
    Test-Outcome $prepared 'ok' 'unknown' $false
    Test-That ($prepared.warn -contains 'journal_damaged') 'it is not said'
    Test-That (Test-Path (Join-Path $script:Folder ('0' * 32 + '.json.damaged'))) 'it is not kept'
    Test-Outcome (Send-Request (New-Request 'status' 'a' 1)) 'ok' 'unknown' $false
    $script:InForce = 'Correct-Horse-1'
    $script:SetAnswer = 2245
    Test-Outcome (Send-Request (Add-Seal (New-Request 'apply' 'a' 1) $prepared 'Correct-Horse-1')) 'already' 'new' $false
}

Test-Case 'a lost journal leaves a doubt that a logon ends' {
    $prepared = Send-Request (New-Request 'prepare' 'a' 1)
    Test-Outcome (Send-Request (Add-Seal (New-Request 'apply' 'a' 1) $prepared 'Correct-Horse-1')) 'ok' 'new' $false
    Remove-Item -LiteralPath (Join-Path $script:Folder ('0' * 32 + '.json'))
    Test-Outcome (Send-Request (New-Request 'verify' 'a' 1)) 'verify_failed' 'unknown' $false
    Test-Outcome (Send-Request (Add-Seal (New-Request 'status' 'a' 1) $prepared 'Other-Horse-1')) 'ok' 'old' $false
    Test-Outcome (Send-Request (Add-Seal (New-Request 'fence' 'a' 1) $prepared 'Correct-Horse-1')) 'ok' 'new' $true
}

Test-Case 'a key is made behind a shut gate so that a password can still be tried' {
    $prepared = Send-Request (New-Request 'prepare' 'a' 1)
    $script:TryAnswer = 1909
    Test-Outcome (Send-Request (Add-Seal (New-Request 'apply' 'a' 1) $prepared 'Correct-Horse-1')) 'verify_failed' 'unknown' $false
    Test-Outcome (Send-Request (New-Request 'fence' 'a' 1)) 'ok' 'unknown' $true
    $script:TryAnswer = $null
    $script:Clock = 5000
    $prepared = Send-Request (New-Request 'prepare' 'a' 1)
    Test-Outcome $prepared 'fenced' 'unknown' $true
    Test-Outcome (Send-Request (Add-Seal (New-Request 'fence' 'a' 1) $prepared 'Correct-Horse-1')) 'ok' 'new' $true
}

Test-Case 'an apply tries what it set before and sets it again if it is wrong' {
    $apply = Add-Seal (New-Request 'apply' 'a' 1) (Send-Request (New-Request 'prepare' 'a' 1)) 'Correct-Horse-1'
    Test-Outcome (Send-Request $apply) 'ok' 'new' $false
    $script:InForce = 'by hand'
    $script:TryAnswer = 1909
    Test-Outcome (Send-Request $apply) 'verify_failed' 'unknown' $false
    $script:TryAnswer = $null
    Test-Outcome (Send-Request $apply) 'ok' 'new' $false
    Test-That ($script:InForce -ceq 'Correct-Horse-1') 'it was not set again'
}

Test-Case 'a refusal of Windows is believed only if the password does not log on' {
    $apply = Add-Seal (New-Request 'apply' 'a' 1) (Send-Request (New-Request 'prepare' 'a' 1)) 'Correct-Horse-1'
    $script:SetAnswer = 2245
    $script:TryAnswer = 1909
    Test-Outcome (Send-Request $apply) 'policy_refused' 'unknown' $false
    $script:TryAnswer = $null
    Test-Outcome (Send-Request $apply) 'policy_refused' 'old' $true
}

Test-Case 'a late look leaves the journal of a later rotation alone' {
    $prepared = Send-Request (New-Request 'prepare' 'a' 1)
    Test-Outcome (Send-Request (Add-Seal (New-Request 'apply' 'a' 1) $prepared 'Correct-Horse-1')) 'ok' 'new' $false
    $null = Send-Request (New-Request 'prepare' 'b' 2)
    $late = Send-Request (Add-Seal (New-Request 'status' 'a' 1) $prepared 'Correct-Horse-1')
    Test-Outcome $late 'ok' 'new' $false
    Test-That ($late.facts.journal.gen -eq 2 -and $late.proof.token_sha256.Length -eq 64) 'the journal was overwritten'
}

Remove-Item -Recurse -Force -LiteralPath $script:Folder
$result = if ($script:Failed -eq 0) { 'ok' } else { 'FAILED' }
[Console]::Out.WriteLine("test result: $result. $script:Passed passed; $script:Failed failed; 0 ignored")
exit [int] ($script:Failed -ne 0)
