# strongroom-rotator for Windows: changes one password of this instance, as
# Strongroom asks. For Windows PowerShell 5.1 and PowerShell 7.
#
#   strongroom-rotator.ps1 run -Instance ID -Request TEXT
#   strongroom-rotator.ps1 -Version
#   strongroom-rotator.ps1 -Help
#
# It speaks the protocol of docs/contract/cloud-assistant.md section 5 as the
# program for Linux does. The last line of the output is the result, one JSON
# object; the exit status hints at it:
#
#    0  done
#   10  not done, nothing changed; the same request may be sent again
#   11  not done, nothing changed, and never will be by this rotation
#   14  another run works on the same user or secret
#   15  the request makes no sense here
#
# What is about to be done is in the journal before it is done, and what is
# answered was tried after it was done, so every operation may be cut off
# anywhere and sent again.
#
# A password is opened, set and tried inside the compiled types below and never
# is the value of a PowerShell variable, parameter or error: transcripts, module
# logging and script block logging see none. Everything that touches Windows
# stands in the section "The machine" and in Strongroom.Native, where tests put
# stand-ins. Dot-sourced, the script only defines its functions.
param(
    [Parameter(Position = 0)] [string] $Command = '',
    [string] $Instance = '',
    [string] $Request = '',
    [switch] $Version,
    [switch] $Help
)

Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
$VerbosePreference = 'SilentlyContinue'
$DebugPreference = 'SilentlyContinue'

$script:PluginVersion = '0.1.0'
$script:Operations = 'prepare', 'apply', 'verify', 'finalize', 'status', 'fence'
$script:MaxRequest = 12288
$script:MaxLine = 4000
$script:MaxTombstones = 32
$script:MaxGeneration = [long] 9007199254740991
$script:LockSeconds = 10
$script:KeySeconds = 900
# The vault relies on a key for ten minutes from when it hears of it, so one
# that has less than eleven to live is not told of again.
$script:KeySecondsLeft = 660
# The age of a password is told in whole seconds, so the moment of its setting
# is seen to move by this much.
$script:AgeSlack = 2
# After this long a file that was to become a key never will.
$script:LeftoverHours = 24
# What the request says of itself, for an answer after everything else failed.
$script:Asked = @{ op = $null; rid = $null }

# ---------------------------------------------------------------------------
# Compiled parts. C# 5, which is what Windows PowerShell compiles.
# ---------------------------------------------------------------------------

# Cryptography that differs between the two: .NET Framework has no AES-GCM, and
# its default RSA no OAEP with SHA-256.
$script:FrameworkSource = @'
namespace Strongroom {
    using System;
    using System.Runtime.InteropServices;
    using System.Security.Cryptography;

    internal static class Platform {
        [StructLayout(LayoutKind.Sequential)]
        private struct AuthInfo {
            public int Size, Version;
            public IntPtr Nonce; public int NonceSize;
            public IntPtr Data; public int DataSize;
            public IntPtr Tag; public int TagSize;
            public IntPtr MacContext; public int MacContextSize;
            public int AadSize; public long TextSize; public int Flags;
        }

        [DllImport("bcrypt.dll", CharSet = CharSet.Unicode)]
        private static extern int BCryptOpenAlgorithmProvider(out IntPtr algorithm, string id, string implementation, int flags);
        [DllImport("bcrypt.dll", CharSet = CharSet.Unicode)]
        private static extern int BCryptSetProperty(IntPtr handle, string name, byte[] value, int size, int flags);
        [DllImport("bcrypt.dll")]
        private static extern int BCryptGenerateSymmetricKey(IntPtr algorithm, out IntPtr key, IntPtr buffer, int size, byte[] secret, int secretSize, int flags);
        [DllImport("bcrypt.dll")]
        private static extern int BCryptDecrypt(IntPtr key, byte[] input, int size, ref AuthInfo info, IntPtr iv, int ivSize, byte[] output, int outputSize, out int done, int flags);
        [DllImport("bcrypt.dll")]
        private static extern int BCryptDestroyKey(IntPtr key);
        [DllImport("bcrypt.dll")]
        private static extern int BCryptCloseAlgorithmProvider(IntPtr algorithm, int flags);

        public static RSA NewRsa() { return new RSACng(2048); }
        public static RSA EmptyRsa() { return new RSACng(); }

        public static bool OpenGcm(byte[] key, byte[] iv, byte[] text, byte[] tag, byte[] aad, byte[] plain) {
            IntPtr algorithm = IntPtr.Zero, handle = IntPtr.Zero;
            GCHandle nonce = GCHandle.Alloc(iv, GCHandleType.Pinned);
            GCHandle data = GCHandle.Alloc(aad, GCHandleType.Pinned);
            GCHandle seal = GCHandle.Alloc(tag, GCHandleType.Pinned);
            try {
                byte[] mode = System.Text.Encoding.Unicode.GetBytes("ChainingModeGCM\0");
                if (BCryptOpenAlgorithmProvider(out algorithm, "AES", null, 0) != 0) return false;
                if (BCryptSetProperty(algorithm, "ChainingMode", mode, mode.Length, 0) != 0) return false;
                if (BCryptGenerateSymmetricKey(algorithm, out handle, IntPtr.Zero, 0, key, key.Length, 0) != 0) return false;
                AuthInfo info = new AuthInfo();
                info.Size = Marshal.SizeOf(typeof(AuthInfo));
                info.Version = 1;
                info.Nonce = nonce.AddrOfPinnedObject(); info.NonceSize = iv.Length;
                info.Data = data.AddrOfPinnedObject(); info.DataSize = aad.Length;
                info.Tag = seal.AddrOfPinnedObject(); info.TagSize = tag.Length;
                int done;
                return BCryptDecrypt(handle, text, text.Length, ref info, IntPtr.Zero, 0, plain, plain.Length, out done, 0) == 0
                    && done == plain.Length;
            } finally {
                if (handle != IntPtr.Zero) BCryptDestroyKey(handle);
                if (algorithm != IntPtr.Zero) BCryptCloseAlgorithmProvider(algorithm, 0);
                nonce.Free(); data.Free(); seal.Free();
            }
        }
    }
}
'@

$script:CoreSource = @'
namespace Strongroom {
    using System.Security.Cryptography;

    internal static class Platform {
        public static RSA NewRsa() { return RSA.Create(2048); }
        public static RSA EmptyRsa() { return RSA.Create(); }

        public static bool OpenGcm(byte[] key, byte[] iv, byte[] text, byte[] tag, byte[] aad, byte[] plain) {
#pragma warning disable SYSLIB0053
            using (AesGcm aes = new AesGcm(key)) {
#pragma warning restore SYSLIB0053
                try { aes.Decrypt(iv, text, tag, plain, aad); return true; }
                catch (CryptographicException) { return false; }
            }
        }
    }
}
'@

$script:CommonSource = @'
namespace Strongroom {
    using System;
    using System.IO;
    using System.Runtime.InteropServices;
    using System.Security.Cryptography;
    using System.Text;

    // What Windows does for the classes below; tests put stand-ins here.
    public static class Native {
        public static Func<byte[], byte[]> Protect = WindowsProtect;
        public static Func<byte[], byte[]> Unprotect = WindowsUnprotect;
        public static Func<string, char[], int> SetPassword = WindowsSetPassword;
        public static Func<string, char[], long, int> TryPassword = WindowsTryPassword;
        public static Func<string, string, int> Replace = WindowsReplace;

        [StructLayout(LayoutKind.Sequential)]
        private struct Blob { public int Size; public IntPtr Data; }
        [StructLayout(LayoutKind.Sequential)]
        private struct UserInfo4 {
            public IntPtr Name, Password; public uint PasswordAge, Priv; public IntPtr HomeDir, Comment;
            public uint Flags; public IntPtr ScriptPath; public uint AuthFlags;
            public IntPtr FullName, UserComment, Parms, Workstations;
            public uint LastLogon, LastLogoff, Expires, MaxStorage, UnitsPerWeek; public IntPtr LogonHours;
            public uint BadCount, Logons; public IntPtr LogonServer; public uint Country, CodePage;
            public IntPtr Sid; public uint PrimaryGroup; public IntPtr Profile, HomeDrive; public uint PasswordExpired;
        }

        [DllImport("netapi32.dll", CharSet = CharSet.Unicode)]
        private static extern int NetUserGetInfo(string server, string user, int level, out IntPtr buffer);
        [DllImport("netapi32.dll", CharSet = CharSet.Unicode)]
        private static extern int NetUserSetInfo(string server, string user, int level, ref IntPtr buffer, out uint wrong);
        [DllImport("netapi32.dll")]
        private static extern int NetApiBufferFree(IntPtr buffer);
        [DllImport("advapi32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool LogonUserW(string user, string domain, IntPtr password, int type, int provider, out IntPtr token);
        [DllImport("advapi32.dll")]
        private static extern bool GetTokenInformation(IntPtr token, int kind, IntPtr buffer, int size, out int needed);
        [DllImport("kernel32.dll")]
        private static extern bool CloseHandle(IntPtr handle);
        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool MoveFileExW(string from, string to, int flags);
        [DllImport("crypt32.dll", CharSet = CharSet.Unicode)]
        private static extern bool CryptProtectData(ref Blob data, string words, IntPtr entropy, IntPtr reserved, IntPtr prompt, int flags, out Blob result);
        [DllImport("crypt32.dll", CharSet = CharSet.Unicode)]
        private static extern bool CryptUnprotectData(ref Blob data, IntPtr words, IntPtr entropy, IntPtr reserved, IntPtr prompt, int flags, out Blob result);
        [DllImport("kernel32.dll")]
        private static extern IntPtr LocalFree(IntPtr memory);

        // Error, flags, expiry, password age, password expired, RID.
        public static long[] AccountFacts(string user) {
            IntPtr buffer;
            int error = NetUserGetInfo(null, user, 4, out buffer);
            if (error != 0) return new long[] { error, 0, 0, 0, 0, 0 };
            try {
                UserInfo4 info = (UserInfo4)Marshal.PtrToStructure(buffer, typeof(UserInfo4));
                return new long[] { 0, info.Flags, info.Expires, info.PasswordAge, info.PasswordExpired, LastPart(info.Sid) };
            } finally { NetApiBufferFree(buffer); }
        }

        private static long LastPart(IntPtr sid) {
            int parts = Marshal.ReadByte(sid, 1);
            return (uint)Marshal.ReadInt32(sid, 8 + 4 * (parts - 1));
        }

        // The RID of whom a token is for; -1 where Windows does not tell.
        private static long TokenRid(IntPtr token) {
            const int User = 1, Size = 256;
            IntPtr buffer = Marshal.AllocHGlobal(Size);
            try {
                int needed;
                if (!GetTokenInformation(token, User, buffer, Size, out needed)) return -1;
                return LastPart(Marshal.ReadIntPtr(buffer));
            } finally { Marshal.FreeHGlobal(buffer); }
        }

        // A copy of the characters, with a final zero, outside the managed heap.
        private static IntPtr Copy(char[] text) {
            IntPtr copy = Marshal.AllocHGlobal(2 * text.Length + 2);
            Marshal.Copy(text, 0, copy, text.Length);
            Marshal.WriteInt16(copy, 2 * text.Length, 0);
            return copy;
        }

        private static void Wipe(IntPtr copy, int length) {
            for (int i = 0; i < length; i++) Marshal.WriteInt16(copy, 2 * i, 0);
            Marshal.FreeHGlobal(copy);
        }

        private static int WindowsSetPassword(string user, char[] password) {
            IntPtr copy = Copy(password);
            try {
                uint wrong;
                IntPtr info = copy;
                return NetUserSetInfo(null, user, 1003, ref info, out wrong);
            } finally { Wipe(copy, password.Length); }
        }

        // -1 where another account was logged on: Windows lets in as guest whom
        // it does not know, whatever the password.
        private static int WindowsTryPassword(string user, char[] password, long rid) {
            IntPtr copy = Copy(password), token = IntPtr.Zero;
            try {
                if (!LogonUserW(user, ".", copy, 3, 0, out token)) return Marshal.GetLastWin32Error();
                try { return TokenRid(token) == rid ? 0 : -1; }
                finally { CloseHandle(token); }
            } finally { Wipe(copy, password.Length); }
        }

        // Replaces an existing file, and returns when it is on disk.
        private static int WindowsReplace(string from, string to) {
            return MoveFileExW(from, to, 1 | 8) ? 0 : Marshal.GetLastWin32Error();
        }

        private static byte[] WindowsProtect(byte[] clear) { return Dpapi(clear, true); }
        private static byte[] WindowsUnprotect(byte[] sealedBytes) { return Dpapi(sealedBytes, false); }

        // For this machine, whoever asks on it: the file's rights do the rest.
        private static byte[] Dpapi(byte[] input, bool protect) {
            GCHandle pin = GCHandle.Alloc(input, GCHandleType.Pinned);
            Blob data = new Blob(), result;
            data.Size = input.Length;
            data.Data = pin.AddrOfPinnedObject();
            try {
                bool good = protect
                    ? CryptProtectData(ref data, "strongroom", IntPtr.Zero, IntPtr.Zero, IntPtr.Zero, 1 | 4, out result)
                    : CryptUnprotectData(ref data, IntPtr.Zero, IntPtr.Zero, IntPtr.Zero, IntPtr.Zero, 1, out result);
                if (!good) return null;
                byte[] output = new byte[result.Size];
                Marshal.Copy(result.Data, output, 0, result.Size);
                for (int i = 0; i < result.Size; i++) Marshal.WriteByte(result.Data, i, 0);
                LocalFree(result.Data);
                return output;
            } finally { pin.Free(); }
        }
    }

    // The key pair of one rotation.
    public sealed class KeyPair : IDisposable {
        private readonly RSA rsa;
        public string Public { get; private set; }
        public string Kid { get; private set; }

        private KeyPair(RSA rsa) {
            this.rsa = rsa;
            byte[] der = Spki(rsa.ExportParameters(false));
            Public = Convert.ToBase64String(der);
            using (SHA256 sha = SHA256.Create()) Kid = Text.Hex(sha.ComputeHash(der)).Substring(0, 16);
        }

        public static KeyPair Make() { return new KeyPair(Platform.NewRsa()); }

        public byte[] Stored() {
            RSAParameters p = rsa.ExportParameters(true);
            using (MemoryStream stream = new MemoryStream(2048)) {
                byte[][] parts = Parts(p);
                foreach (byte[] part in parts) {
                    stream.WriteByte((byte)(part.Length >> 8)); stream.WriteByte((byte)part.Length);
                    stream.Write(part, 0, part.Length);
                }
                byte[] clear = stream.ToArray();
                try { return Native.Protect(clear); }
                finally { Array.Clear(clear, 0, clear.Length); Array.Clear(stream.GetBuffer(), 0, stream.GetBuffer().Length); Wipe(p); }
            }
        }

        // Null where it is not one that was stored on this machine.
        public static KeyPair Load(byte[] stored) {
            byte[] clear = Native.Unprotect(stored);
            if (clear == null) return null;
            try {
                byte[][] parts = new byte[8][];
                int at = 0;
                for (int i = 0; i < 8; i++) {
                    if (at + 2 > clear.Length) return null;
                    int length = clear[at] << 8 | clear[at + 1];
                    at += 2;
                    if (at + length > clear.Length) return null;
                    parts[i] = new byte[length];
                    Array.Copy(clear, at, parts[i], 0, length);
                    at += length;
                }
                RSAParameters p = new RSAParameters();
                p.Modulus = parts[0]; p.Exponent = parts[1]; p.D = parts[2]; p.P = parts[3];
                p.Q = parts[4]; p.DP = parts[5]; p.DQ = parts[6]; p.InverseQ = parts[7];
                RSA rsa = Platform.EmptyRsa();
                rsa.ImportParameters(p);
                Wipe(p);
                return new KeyPair(rsa);
            } catch (CryptographicException) { return null; }
            finally { Array.Clear(clear, 0, clear.Length); }
        }

        public byte[] Decrypt(byte[] wrapped) {
            try { return rsa.Decrypt(wrapped, RSAEncryptionPadding.OaepSHA256); }
            catch (CryptographicException) { return null; }
        }

        public void Dispose() { rsa.Dispose(); }

        private static byte[][] Parts(RSAParameters p) {
            return new byte[][] { p.Modulus, p.Exponent, p.D, p.P, p.Q, p.DP, p.DQ, p.InverseQ };
        }

        private static void Wipe(RSAParameters p) {
            foreach (byte[] part in new byte[][] { p.D, p.P, p.Q, p.DP, p.DQ, p.InverseQ }) Array.Clear(part, 0, part.Length);
        }

        // SubjectPublicKeyInfo, RFC 5280 section 4.1 with RFC 8017 appendix A.1.1.
        private static byte[] Spki(RSAParameters p) {
            byte[] key = Tlv(0x30, Join(Integer(p.Modulus), Integer(p.Exponent)));
            byte[] algorithm = { 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00 };
            return Tlv(0x30, Join(algorithm, Tlv(0x03, Join(new byte[] { 0 }, key))));
        }

        private static byte[] Integer(byte[] number) {
            return Tlv(0x02, (number[0] & 0x80) != 0 ? Join(new byte[] { 0 }, number) : number);
        }

        private static byte[] Tlv(byte tag, byte[] content) {
            int n = content.Length;
            byte[] head = n < 128 ? new byte[] { tag, (byte)n }
                : n < 256 ? new byte[] { tag, 0x81, (byte)n }
                : new byte[] { tag, 0x82, (byte)(n >> 8), (byte)n };
            return Join(head, content);
        }

        private static byte[] Join(byte[] a, byte[] b) {
            byte[] both = new byte[a.Length + b.Length];
            Array.Copy(a, both, a.Length);
            Array.Copy(b, 0, both, a.Length, b.Length);
            return both;
        }
    }

    // A password that was unsealed. It does not leave this class.
    public sealed class Candidate : IDisposable {
        private readonly char[] password;
        public string TokenDigest { get; private set; }

        private Candidate(char[] password, string tokenDigest) { this.password = password; TokenDigest = tokenDigest; }

        public int Put(string user) { return Native.SetPassword(user, password); }
        public int Test(string user, long rid) { return Native.TryPassword(user, password, rid); }
        public void Dispose() { Array.Clear(password, 0, password.Length); }

        // Null where it was not sealed to this key for this purpose.
        public static Candidate Open(KeyPair pair, byte[] ek, byte[] iv, byte[] ct, string purpose) {
            if (iv.Length != 12 || ct.Length < 17) return null;
            byte[] text = pair.Decrypt(ek), key = null, plain = new byte[ct.Length - 16];
            byte[] content = new byte[plain.Length], tag = new byte[16];
            try {
                key = text == null ? null : Text.Base64Url(Encoding.ASCII.GetString(text));
                if (key == null || key.Length != 32) return null;
                Array.Copy(ct, content, content.Length);
                Array.Copy(ct, content.Length, tag, 0, 16);
                if (!Platform.OpenGcm(key, iv, content, tag, Encoding.ASCII.GetBytes(purpose), plain)) return null;
                return Parse(plain);
            } finally {
                if (text != null) Array.Clear(text, 0, text.Length);
                if (key != null) Array.Clear(key, 0, key.Length);
                Array.Clear(plain, 0, plain.Length);
            }
        }

        // {"password":"...","token":"..."} in ASCII, and nothing else.
        private static Candidate Parse(byte[] json) {
            char[] password = null, token = null;
            int at = 0;
            try {
                if (!Skip(json, ref at, '{')) return null;
                while (true) {
                    char[] name = Word(json, ref at);
                    if (name == null || !Skip(json, ref at, ':')) return null;
                    char[] value = Word(json, ref at);
                    if (value == null) return null;
                    string member = new string(name);
                    if (member == "password" && password == null) password = value;
                    else if (member == "token" && token == null) token = value;
                    else return null;
                    if (Skip(json, ref at, ',')) continue;
                    if (!Skip(json, ref at, '}') || at != json.Length) return null;
                    break;
                }
                if (password == null || password.Length == 0 || token == null || token.Length != 64) return null;
                byte[] bytes = Encoding.ASCII.GetBytes(token);
                using (SHA256 sha = SHA256.Create()) {
                    Candidate made = new Candidate(password, Text.Hex(sha.ComputeHash(bytes)));
                    password = null;
                    return made;
                }
            } finally { if (password != null) Array.Clear(password, 0, password.Length); }
        }

        private static bool Skip(byte[] json, ref int at, char sign) {
            if (at >= json.Length || json[at] != sign) return false;
            at++;
            return true;
        }

        private static char[] Word(byte[] json, ref int at) {
            if (!Skip(json, ref at, '"')) return null;
            char[] room = new char[json.Length - at];
            int length = 0;
            try {
                while (at < json.Length) {
                    char c = (char)json[at++];
                    if (c == '"') {
                        char[] word = new char[length];
                        Array.Copy(room, word, length);
                        return word;
                    }
                    if (c < ' ' || c > '~') return null;
                    if (c == '\\') {
                        if (at >= json.Length) return null;
                        c = (char)json[at++];
                        if (c == 'u') {
                            if (at + 4 > json.Length) return null;
                            int code = 0;
                            for (int i = 0; i < 4; i++) {
                                int digit = "0123456789abcdef".IndexOf(char.ToLowerInvariant((char)json[at++]));
                                if (digit < 0) return null;
                                code = 16 * code + digit;
                            }
                            c = (char)code;
                        } else if (c != '"' && c != '\\' && c != '/') return null;
                    }
                    room[length++] = c;
                }
                return null;
            } finally { Array.Clear(room, 0, room.Length); }
        }
    }

    public static class Text {
        public static string Hex(byte[] bytes) {
            StringBuilder text = new StringBuilder(2 * bytes.Length);
            foreach (byte b in bytes) text.Append(b.ToString("x2"));
            return text.ToString();
        }

        public static byte[] Base64Url(string text) {
            string padded = text.Replace('-', '+').Replace('_', '/') + new string('=', (4 - text.Length % 4) % 4);
            try { return Convert.FromBase64String(padded); } catch (FormatException) { return null; }
        }
    }
}
'@

function Import-Types {
    if ('Strongroom.Candidate' -as [type]) { return }
    if ($PSVersionTable.PSVersion.Major -ge 6) {
        Add-Type -IgnoreWarnings -TypeDefinition ($script:CoreSource + $script:CommonSource)
    } else {
        Add-Type -IgnoreWarnings -TypeDefinition ($script:FrameworkSource + $script:CommonSource) -ReferencedAssemblies 'System.Core'
    }
}

# ---------------------------------------------------------------------------
# The machine. Tests replace these functions.
# ---------------------------------------------------------------------------

function Get-Now { return [long] [Math]::Floor(([DateTime]::UtcNow - [DateTime] '1970-01-01').TotalSeconds) }

function Get-SystemName {
    $name = Read-Registry 'SOFTWARE\Microsoft\Windows NT\CurrentVersion' 'ProductName'
    $build = Read-Registry 'SOFTWARE\Microsoft\Windows NT\CurrentVersion' 'CurrentBuildNumber'
    return "$name $build"
}

# SYSTEM, or an administrator with all rights.
function Test-Elevated {
    $identity = [Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object Security.Principal.WindowsPrincipal($identity)
    return $identity.IsSystem -or $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

# Makes the folder of journals, locks and keys, and closes it to everybody but
# SYSTEM and the administrators. Ordinary users may make folders in ProgramData,
# so one that is theirs, or a link, is not used.
function Initialize-Folder {
    $folder = $env:ProgramData
    foreach ($name in 'Strongroom', 'rotator') {
        $folder = [IO.Path]::Combine($folder, $name)
        $isNew = -not [IO.Directory]::Exists($folder)
        if ($isNew) { $null = [IO.Directory]::CreateDirectory($folder) }
        $found = Get-Item -LiteralPath $folder -Force
        if ($found.Attributes -band [IO.FileAttributes]::ReparsePoint) { throw 'the folder is a link' }
        $owner = (Get-Acl -LiteralPath $folder).GetOwner([Security.Principal.SecurityIdentifier]).Value
        if (-not $isNew -and $owner -notin 'S-1-5-18', 'S-1-5-32-544') { throw 'the folder is not the administrators''' }
        $acl = New-Object Security.AccessControl.DirectorySecurity
        $acl.SetAccessRuleProtection($true, $false)
        $acl.SetOwner((New-Object Security.Principal.SecurityIdentifier('S-1-5-32-544')))
        foreach ($sid in 'S-1-5-18', 'S-1-5-32-544') {
            $who = New-Object Security.Principal.SecurityIdentifier($sid)
            $acl.AddAccessRule((New-Object Security.AccessControl.FileSystemAccessRule($who, 'FullControl', 'ContainerInherit, ObjectInherit', 'None', 'Allow')))
        }
        Set-Acl -LiteralPath $folder -AclObject $acl
    }
    return $folder
}

function Read-Registry([string] $Path, [string] $Name) {
    $base = [Microsoft.Win32.RegistryKey]::OpenBaseKey('LocalMachine', 'Registry64')
    try {
        $key = $base.OpenSubKey($Path)
        if ($null -eq $key) { return $null }
        try { return $key.GetValue($Name) } finally { $key.Dispose() }
    } finally { $base.Dispose() }
}

# Whether a policy of Windows LAPS, or of its predecessor, sets this account's
# password. Without a name such a policy means the built-in administrator.
function Test-Laps([string] $User, [long] $Rid) {
    $names = @()
    foreach ($root in 'SOFTWARE\Microsoft\Policies\LAPS', 'SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\LAPS', 'SOFTWARE\Microsoft\Windows\CurrentVersion\LAPS\Config') {
        $backup = Read-Registry $root 'BackupDirectory'
        if ($null -eq $backup) { continue }
        if ($backup -ne 0) {
            if ((Read-Registry $root 'AutomaticAccountManagementEnabled') -eq 1 -and (Read-Registry $root 'AutomaticAccountManagementTarget') -ne 0) {
                $prefix = [string] (Read-Registry $root 'AutomaticAccountManagementNameOrPrefix')
                if ($prefix -eq '') { $prefix = 'WLapsAdmin' }
                if ($User.StartsWith($prefix, [StringComparison]::OrdinalIgnoreCase)) { return $true }
            } else {
                $names += [string] (Read-Registry $root 'AdministratorAccountName')
            }
        }
        # The first of the three that says anything is the one in force.
        break
    }
    if ((Read-Registry 'SOFTWARE\Policies\Microsoft Services\AdmPwd' 'AdmPwdEnabled') -eq 1) {
        $names += [string] (Read-Registry 'SOFTWARE\Policies\Microsoft Services\AdmPwd' 'AdminAccountName')
    }
    foreach ($name in $names) {
        if (($name -eq '' -and $Rid -eq 500) -or $name -eq $User) { return $true }
    }
    return $false
}

function Get-AccountFacts([string] $User) {
    $facts = @{
        problem = 0; domain_controller = $false; laps = $false; rid = $null; disabled = $false
        locked = $false; expired = $false; must_change = $false; last_set = $null
    }
    # LanmanNT is the product type of a domain controller.
    $facts.domain_controller = (Read-Registry 'SYSTEM\CurrentControlSet\Control\ProductOptions' 'ProductType') -eq 'LanmanNT'
    if ($facts.domain_controller) { return $facts }
    $found = [Strongroom.Native]::AccountFacts($User)
    $facts.problem = $found[0]
    if ($found[0] -ne 0) { return $facts }
    $now = Get-Now
    $facts.rid = $found[5]
    $facts.disabled = ($found[1] -band 0x2) -ne 0
    $facts.locked = ($found[1] -band 0x10) -ne 0
    $facts.expired = $found[2] -ne 0 -and $found[2] -ne 4294967295 -and $found[2] -le $now
    $facts.must_change = $found[4] -ne 0
    $facts.last_set = $now - $found[3]
    $facts.laps = Test-Laps $User $found[5]
    return $facts
}

# Has the account database written to disk, which Windows else does when it
# finds the time.
function Save-Accounts {
    $base = [Microsoft.Win32.RegistryKey]::OpenBaseKey('LocalMachine', 'Registry64')
    try {
        $key = $base.OpenSubKey('SAM')
        if ($null -eq $key) { throw 'there is no account database' }
        try { $key.Flush() } finally { $key.Dispose() }
    } finally { $base.Dispose() }
}

# ---------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------

# When this returns, the content outlasts a loss of power; when it fails, the
# former content still stands.
function Write-Durable([string] $Path, [byte[]] $Bytes) {
    $stream = New-Object IO.FileStream("$Path.new", [IO.FileMode]::Create, [IO.FileAccess]::Write, [IO.FileShare]::None)
    try {
        $stream.Write($Bytes, 0, $Bytes.Length)
        $stream.Flush($true)
    } finally { $stream.Dispose() }
    $problem = [Strongroom.Native]::Replace.Invoke("$Path.new", $Path)
    if ($problem -ne 0) { throw (New-Object IO.IOException('cannot replace the file', (-2147024896 -bor $problem))) }
}

# The code for a failed use of a file, by the Windows error below it.
function Get-FileCode([Exception] $Problem) {
    while ($Problem.InnerException) { $Problem = $Problem.InnerException }
    if (($Problem.HResult -band 0xffff) -in 39, 112) { return 'disk_full' }
    return 'internal'
}

# Takes the lock of the secret, then that of the user. False if another run
# holds one of them for too long.
function Enter-Locks([hashtable] $Run) {
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $names = "$($Run.request.sid).lock", "user-$($Run.request.user.ToLowerInvariant()).lock"
    foreach ($name in $names) {
        $path = [IO.Path]::Combine($Run.folder, $name)
        while ($true) {
            try {
                $Run.locks += [IO.File]::Open($path, [IO.FileMode]::OpenOrCreate, [IO.FileAccess]::ReadWrite, [IO.FileShare]::None)
                break
            } catch {
                $cause = $_.Exception
                while ($cause.InnerException) { $cause = $cause.InnerException }
                # Only a file that another run has open is worth waiting for.
                if ($cause -isnot [IO.IOException] -or $cause -is [IO.DirectoryNotFoundException]) { throw }
            }
            if ($watch.Elapsed.TotalSeconds -ge $script:LockSeconds) { return $false }
            Start-Sleep -Milliseconds 25
        }
    }
    return $true
}

function Exit-Locks([hashtable] $Run) {
    foreach ($stream in $Run.locks) { $stream.Dispose() }
    $Run.locks = @()
}

function Get-Part([object] $Thing, [string] $Name) {
    if ($Thing -isnot [Management.Automation.PSCustomObject]) { return $null }
    $property = $Thing.PSObject.Properties[$Name]
    if ($null -eq $property) { return $null }
    return $property.Value
}

function Test-Whole([object] $Number) { return ($Number -is [int] -or $Number -is [long]) -and $Number -ge 0 -and $Number -le $script:MaxGeneration }

function New-Journal([string] $Instance) {
    return @{ inst = $Instance; fence_gen = [long] 0; tombstones = @(); rotation = $null; last_set = $null }
}

function ConvertTo-Journal([string] $Json) {
    $read = ConvertFrom-Json -InputObject $Json
    $journal = New-Journal (Get-Part $read 'inst')
    $fence = Get-Part $read 'fence_gen'
    if ($journal.inst -eq '' -or -not (Test-Whole $fence)) { throw 'not a journal' }
    $journal.fence_gen = [long] $fence
    $journal.tombstones = @(Get-Part $read 'tombstones' | Where-Object { $_ -is [string] })
    $set = Get-Part $read 'last_set'
    if (Test-Whole $set) { $journal.last_set = [long] $set }
    $last = Get-Part $read 'rotation'
    if ($null -eq $last) { return $journal }
    $rotation = @{}
    foreach ($name in 'user', 'kind', 'rid', 'reached', 'new') {
        $value = Get-Part $last $name
        if ($value -isnot [string]) { throw 'not a journal' }
        $rotation[$name] = $value
    }
    foreach ($name in 'gen', 'begun', 'settled') {
        $value = Get-Part $last $name
        if (-not (Test-Whole $value)) { throw 'not a journal' }
        $rotation[$name] = [long] $value
    }
    if ($rotation.reached -notin 'prepared', 'begun', 'applied', 'restored', 'finalized') { throw 'not a journal' }
    $rotation.fenced = (Get-Part $last 'fenced') -eq $true
    $rotation.held = (Get-Part $last 'held') -eq $true -or $rotation.reached -in 'applied', 'finalized'
    $journal.rotation = $rotation
    return $journal
}

# The journal of the request's secret. One of another instance came with an
# image and means nothing; a damaged one is kept beside the next.
function Read-Journal([hashtable] $Run) {
    $Run.journal = New-Journal $Run.request.inst
    $path = [IO.Path]::Combine($Run.folder, "$($Run.request.sid).json")
    $Run.doubtful = [IO.File]::Exists("$path.damaged")
    if (-not [IO.File]::Exists($path)) {
        if ($Run.request.gen -gt 1) { $Run.report.warn += 'no_journal' }
        return
    }
    $json = [IO.File]::ReadAllText($path, [Text.Encoding]::ASCII)
    try {
        $found = ConvertTo-Journal $json
        if ($found.inst -ceq $Run.request.inst) { $Run.journal = $found }
    } catch {
        $Run.damaged = $true
        $Run.doubtful = $true
        $Run.report.warn += 'journal_damaged'
    }
}

function Write-Journal([hashtable] $Run) {
    $path = [IO.Path]::Combine($Run.folder, "$($Run.request.sid).json")
    if ($Run.damaged) {
        if ([Strongroom.Native]::Replace.Invoke($path, "$path.damaged") -ne 0) { throw 'cannot put the damaged journal aside' }
        $Run.damaged = $false
    }
    $json = ConvertTo-Json -InputObject $Run.journal -Compress -Depth 4
    Write-Durable $path ([Text.Encoding]::ASCII.GetBytes($json))
}

# True once the journal is on disk; otherwise the answer says why not.
function Save-Journal([hashtable] $Run) {
    try { $null = Write-Journal $Run; return $true } catch { Set-Failure $Run (Get-FileCode $_.Exception) 'the journal cannot be written'; return $false }
}

# After the deed: it stands although it could not be written down.
function Save-OrWarn([hashtable] $Run) {
    try { $null = Write-Journal $Run } catch { $Run.report.warn += 'journal_not_written' }
}

function Get-KeyPath([hashtable] $Run) { return [IO.Path]::Combine($Run.folder, "$($Run.request.rid).key") }

# The key pair of this rotation and the end of its life; null where it has none
# that is good.
function Read-Key([string] $Path) {
    if (-not [IO.File]::Exists($Path)) { return $null }
    $parts = [IO.File]::ReadAllText($Path, [Text.Encoding]::ASCII).Split(' ')
    $expires = [long] 0
    if ($parts.Count -ne 2 -or -not [long]::TryParse($parts[0], [ref] $expires) -or $expires -le (Get-Now)) { return $null }
    try { $pair = [Strongroom.KeyPair]::Load([Convert]::FromBase64String($parts[1])) } catch { return $null }
    if ($null -eq $pair) { return $null }
    return @{ pair = $pair; expires = $expires }
}

function New-Key([hashtable] $Run) {
    $key = @{ pair = [Strongroom.KeyPair]::Make(); expires = (Get-Now) + $script:KeySeconds }
    $text = "$($key.expires) $([Convert]::ToBase64String($key.pair.Stored()))"
    Write-Durable (Get-KeyPath $Run) ([Text.Encoding]::ASCII.GetBytes($text))
    return $key
}

# A key that stays behind dies by its age; nothing depends on this.
function Remove-Key([string] $Path) { try { [IO.File]::Delete($Path) } catch { $null = $_ } }

function Remove-DeadKeys([hashtable] $Run) {
    foreach ($path in [IO.Directory]::GetFiles($Run.folder)) {
        # One that cannot be read now may be read by the next run.
        try {
            if ($path.EndsWith('.key')) {
                $key = Read-Key $path
                if ($null -eq $key) { Remove-Key $path } else { $key.pair.Dispose() }
            } elseif ($path.EndsWith('.key.new') -and [IO.File]::GetLastWriteTimeUtc($path).AddHours($script:LeftoverHours) -lt [DateTime]::UtcNow) {
                Remove-Key $path
            }
        } catch { $null = $_ }
    }
}

# ---------------------------------------------------------------------------
# Request and answer
# ---------------------------------------------------------------------------

# Without the compiled part, so that a request is known before that is made.
function ConvertFrom-Base64Url([object] $Text) {
    if ($Text -isnot [string] -or $Text -cnotmatch '^[A-Za-z0-9_-]+\z') { return $null }
    $padded = $Text.Replace('-', '+').Replace('_', '/') + '=' * ((4 - $Text.Length % 4) % 4)
    try { return , [Convert]::FromBase64String($padded) } catch { return $null }
}

# Reads and checks a request: a hashtable whose member "bad" says what is wrong.
function Read-Request([string] $Encoded) {
    $request = @{ bad = $null; op = $null; rid = $null; gen = $null; att = $null; sid = $null; inst = $null; user = $null; enc = $null }
    $bytes = $null
    if ($Encoded.Length -le $script:MaxRequest) { $bytes = ConvertFrom-Base64Url $Encoded }
    $wire = $null
    if ($null -ne $bytes) { try { $wire = ConvertFrom-Json -InputObject ([Text.Encoding]::ASCII.GetString($bytes)) } catch { $wire = $null } }
    if ($wire -isnot [Management.Automation.PSCustomObject]) { $request.bad = 'the request is not JSON in base64url'; return $request }
    foreach ($name in 'op', 'sid', 'rid', 'gen', 'att', 'inst', 'user') { $request[$name] = Get-Part $wire $name }
    foreach ($name in 'sid', 'rid') {
        if ($request[$name] -isnot [string] -or $request[$name] -cnotmatch '^[0-9a-f]{32}\z') { $request[$name] = $null; $request.bad = "$name is not 32 hexadecimal characters" }
    }
    if ($script:Operations -cnotcontains $request.op) { $request.op = $null; $request.bad = 'op is none that is known' }
    foreach ($name in 'gen', 'att') {
        if (-not (Test-Whole $request[$name]) -or $request[$name] -lt 1) { $request[$name] = $null; $request.bad = 'gen and att count from 1' } else { $request[$name] = [long] $request[$name] }
    }
    $allowed = 'v', 'op', 'sid', 'rid', 'gen', 'att', 'inst', 'user', 'kind', 'ks', 'enc', 'remove', 'opt'
    foreach ($property in $wire.PSObject.Properties) {
        if ($allowed -cnotcontains $property.Name) { $request.bad = 'the request has a member that Windows passwords have not' }
    }
    if ((Get-Part $wire 'v') -ne 1) { $request.bad = 'only version 1 of the protocol is known' }
    if ((Get-Part $wire 'kind') -cne 'password') { $request.bad = 'only passwords are changed on Windows' }
    if ($null -ne (Get-Part $wire 'ks') -and (Get-Part $wire 'ks') -cne 'plugin') { $request.bad = 'key pairs of the agent are not supported' }
    if (@(Get-Part $wire 'remove').Where({ $null -ne $_ }).Count -ne 0) { $request.bad = 'remove is for keys' }
    if ($request.inst -isnot [string] -or $request.inst -cnotmatch '^[A-Za-z0-9_.-]{1,64}\z') { $request.inst = $null; $request.bad = 'inst is not an instance id' }
    # What an account database takes, and is harmless in a path.
    if ($request.user -isnot [string] -or $request.user -cnotmatch '^[!-~]{1,32}\z' -or $request.user -match '["/\\\[\]:;|=,+*?<>@''`]|^-|\.\z') { $request.user = $null; $request.bad = 'user is not a user name' }
    $sealed = Get-Part $wire 'enc'
    if ($null -ne $sealed) {
        $request.enc = @{ kid = Get-Part $sealed 'kid'; ek = ConvertFrom-Base64Url (Get-Part $sealed 'ek'); iv = ConvertFrom-Base64Url (Get-Part $sealed 'iv'); ct = ConvertFrom-Base64Url (Get-Part $sealed 'ct') }
        if ($request.enc.kid -isnot [string] -or $null -eq $request.enc.ek -or $null -eq $request.enc.iv -or $null -eq $request.enc.ct) { $request.bad = 'enc is not a sealed credential' }
    } elseif ($request.op -ceq 'apply') { $request.bad = 'apply needs a sealed credential' }
    return $request
}

function New-Report {
    return @{ code = 'ok'; changed = $false; final = $false; live = 'unknown'; warn = @(); detail = $null; key = $null; facts = $null; proof = $null }
}

function Set-Failure([hashtable] $Run, [string] $Code, [string] $Detail) {
    $Run.report.code = $Code
    $Run.report.detail = $Detail
}

function ConvertTo-Line([hashtable] $Run) {
    $report = $Run.report
    $request = $Run.request
    $own = if ($null -ne $Run.journal) { Get-Own $Run } else { $null }
    $phase = $null
    $proof = @{}
    if ($null -ne $own) {
        $phase = if ($own.fenced) { 'fenced' } else { $own.reached }
        if ($report.live -eq 'new' -and $own.new -ne '') { $proof = @{ token_sha256 = $own.new } }
    }
    if ($report.live -eq 'new' -and $null -ne $report.proof) { $proof = @{ token_sha256 = $report.proof } }
    $line = [ordered] @{
        strongroom = 1; op = $request.op; rid = $request.rid; gen = $request.gen; att = $request.att
        plugin = $script:PluginVersion; ok = $report.code -in 'ok', 'already'; code = $report.code
        changed = $report.changed; final = $report.final; live = $report.live; phase = $phase; proof = $proof
    }
    if ($null -ne $report.key) {
        $line['pub'] = $report.key.pair.Public
        $line['kid'] = $report.key.pair.Kid
        $line['exp'] = $report.key.expires
    }
    if ($null -ne $report.facts) { $line['facts'] = $report.facts }
    $line['warn'] = @($report.warn | Select-Object -Unique)
    if ($null -ne $report.detail) { $line['detail'] = $report.detail }
    foreach ($spare in '', 'facts', 'detail') {
        if ($line.Contains($spare)) { $line.Remove($spare) }
        $json = ConvertTo-Json -InputObject $line -Compress -Depth 6
        $json = [regex]::Replace($json, '[^\x20-\x7e]', { param($found) '\u{0:x4}' -f [int] [char] $found.Value })
        if ($json.Length -le $script:MaxLine) { break }
    }
    return $json
}

function Get-ExitCode([hashtable] $Report) {
    if ($Report.code -in 'ok', 'already') { return 0 }
    if ($Report.code -eq 'busy') { return 14 }
    if ($Report.code -in 'bad_request', 'wrong_instance', 'not_root') { return 15 }
    if ($Report.final) { return 11 }
    return 10
}

# ---------------------------------------------------------------------------
# The six operations (section 5.6)
# ---------------------------------------------------------------------------

# The journal's rotation, if it is the request's.
function Get-Own([hashtable] $Run) {
    $last = $Run.journal.rotation
    if ($null -ne $last -and $last.rid -ceq $Run.request.rid -and $last.gen -eq $Run.request.gen) { return $last }
    return $null
}

function Get-Reached([hashtable] $Run) {
    $own = Get-Own $Run
    if ($null -eq $own) { return '' }
    return $own.reached
}

# Somebody else has set the password since this script did. While this rotation
# is begun it may have been this script.
function Test-ChangedOutside([hashtable] $Run) {
    $set = $Run.account.last_set
    if ($null -eq $set -or $null -eq $Run.journal.last_set -or (Get-Reached $Run) -eq 'begun') { return $false }
    return [Math]::Abs([long] $set - [long] $Run.journal.last_set) -gt $script:AgeSlack
}

# Whether a later rotation, or another of the same generation, is in the journal.
function Test-Overtaken([hashtable] $Run) {
    $last = $Run.journal.rotation
    return $null -eq (Get-Own $Run) -and $null -ne $last -and $last.gen -ge $Run.request.gen
}

# What is in force, by the journal alone. That "other" is, only a logon can show.
function Get-Live([hashtable] $Run) {
    $own = Get-Own $Run
    if ($null -eq $own) {
        # Where it is asked after, or given up, it may have been applied and the
        # journal lost since.
        $asks = $Run.request.op -in 'status', 'verify', 'fence'
        $newer = $null -ne $Run.journal.rotation -and $Run.journal.rotation.gen -gt $Run.request.gen
        if ($asks -or $newer -or $Run.doubtful) { return 'unknown' }
        return 'old'
    }
    if ($own.reached -eq 'applied' -and (Test-ChangedOutside $Run)) { return 'unknown' }
    if ($own.reached -in 'applied', 'finalized') { return 'new' }
    if ($own.reached -eq 'begun') { return 'unknown' }
    # "restored" is written only when there is no doubt, or a logon ended it.
    if ($own.reached -eq 'restored') { return $(if ($own.held) { 'other' } else { 'old' }) }
    if ($Run.doubtful) { return 'unknown' }
    return 'old'
}

# Empty where the gate is open: which requests may still change something. A
# fence or tombstone outlasts everything, and after that the generation rules.
function Get-Gate([hashtable] $Run) {
    $request = $Run.request
    $last = $Run.journal.rotation
    if ($request.gen -le $Run.journal.fence_gen -or $Run.journal.tombstones -ccontains $request.rid) { return 'fenced' }
    if ($null -eq $last) { return '' }
    if ($request.gen -lt $last.gen) { return 'stale_gen' }
    if ($request.gen -eq $last.gen -and $request.rid -cne $last.rid) { return 'wrong_rid' }
    if ($request.rid -ceq $last.rid -and $last.reached -eq 'finalized') { return 'already' }
    return ''
}

function Test-Shut([hashtable] $Run) {
    $code = Get-Gate $Run
    if ($code -eq '') { return $false }
    $Run.report.code = $code
    $Run.report.final = $true
    return $true
}

function Add-Tombstone([hashtable] $Run) {
    $kept = @($Run.journal.tombstones | Where-Object { $_ -cne $Run.request.rid })
    $Run.journal.tombstones = @(@($kept) + $Run.request.rid | Select-Object -Last $script:MaxTombstones)
}

# Enters this rotation into the journal, in memory.
function Set-Rotation([hashtable] $Run, [string] $Reached, [string] $New) {
    $own = Get-Own $Run
    $now = Get-Now
    $Run.journal.rotation = @{
        user = $Run.request.user; kind = 'password'; gen = $Run.request.gen; rid = $Run.request.rid
        reached = $Reached; fenced = ($null -ne $own -and $own.fenced); new = $New
        held = ($Reached -eq 'applied' -or ($null -ne $own -and $own.held))
        begun = $(if ($null -ne $own) { $own.begun } else { $now }); settled = $now
    }
}

function Set-Applied([hashtable] $Run, [string] $Digest) {
    # The journal must not outlast a loss of power that the password does not.
    try { $null = Save-Accounts } catch { $Run.report.warn += 'accounts_not_flushed' }
    Set-Rotation $Run 'applied' $Digest
    $Run.account = Get-AccountFacts $Run.request.user
    $Run.journal.last_set = $Run.account.last_set
    Save-OrWarn $Run
    $Run.report.live = 'new'
}

# Why the account's password cannot be changed, or null.
function Get-Obstacle([hashtable] $Run) {
    $account = $Run.account
    if ($account.domain_controller) { return 'domain_controller' }
    if ($account.problem -eq 2221 -or $Run.request.user.Length -gt 20) { return 'user_missing' }
    if ($account.problem -eq 5) { return 'not_root' }
    if ($account.problem -ne 0) { return 'tool_failed' }
    if ($account.laps) { return 'laps_managed' }
    if ($account.disabled) { return 'account_disabled' }
    if ($account.expired) { return 'account_expired' }
    if ($account.locked) { return 'account_locked' }
    if ($account.must_change) { $Run.report.warn += 'must_change' }
    return $null
}

function Get-SetCode([int] $Problem) {
    if ($Problem -in 2245, 1325, 2243, 2244, 2246, 1324, 86) { return 'policy_refused' }
    if ($Problem -eq 2221) { return 'user_missing' }
    if ($Problem -eq 5) { return 'not_root' }
    if ($Problem -in 2226, 1355) { return 'domain_controller' }
    return 'tool_failed'
}

# Tries the candidate once, since a lockout policy counts: yes, no or unsaid.
# Restrictions are told to those only who know the password; a lockout says
# nothing of it.
function Test-Candidate([hashtable] $Run, [object] $Candidate) {
    $account = $Run.account
    if ($account.domain_controller -or $account.problem -ne 0 -or $null -eq $account.rid) { return 'unsaid' }
    $problem = $Candidate.Test($Run.request.user, $account.rid)
    if ($problem -eq 1326) { return 'no' }
    if ($problem -eq 0) { return 'yes' }
    if ($problem -in 1330, 1331, 1327, 1328, 1385, 1907, 1793) { $Run.report.warn += 'logon_restricted'; return 'yes' }
    return 'unsaid'
}

# The unsealed candidate, or null and the answer says why.
function Open-Candidate([hashtable] $Run) {
    $enc = $Run.request.enc
    $key = Read-Key (Get-KeyPath $Run)
    if ($null -eq $key) { Set-Failure $Run 'key_expired' 'the key pair is gone: ask for another'; return $null }
    try {
        if ($key.pair.Kid -cne $enc.kid) { Set-Failure $Run 'key_expired' 'sealed to another key pair'; return $null }
        $request = $Run.request
        $user = [Convert]::ToBase64String([Text.Encoding]::ASCII.GetBytes($request.user)).TrimEnd('=').Replace('+', '-').Replace('/', '_')
        $purpose = "strongroom-v1|$($request.op)|$($request.sid)|$($request.rid)|$($request.gen)|$($request.inst)|password|$user"
        $candidate = [Strongroom.Candidate]::Open($key.pair, $enc.ek, $enc.iv, $enc.ct, $purpose)
        if ($null -eq $candidate) { Set-Failure $Run 'decrypt_failed' 'not sealed to this key for this request' }
        return $candidate
    } finally { $key.pair.Dispose() }
}

# Answers that nothing is in force; if the cause will stand, for good.
function Deny-Change([hashtable] $Run, [string] $Code, [string] $Detail) {
    if ((Get-Reached $Run) -ne 'applied') {
        $lasts = $Code -notin 'tool_failed', 'not_root'
        if ($lasts) { Add-Tombstone $Run }
        $own = Get-Own $Run
        if ($null -ne $own) { $own.reached = 'restored'; $own.settled = Get-Now }
        if (($lasts -or $null -ne $own) -and (Save-Journal $Run)) { $Run.report.final = $lasts }
    }
    Set-Failure $Run $Code $Detail
    $Run.report.live = Get-Live $Run
}

# As Deny-Change, where an earlier call may have set the password and been cut off.
function Deny-AfterDoubt([hashtable] $Run, [object] $Candidate, [bool] $Doubtful, [string] $Code, [string] $Detail) {
    if ($Doubtful) {
        $match = Test-Candidate $Run $Candidate
        if ($match -eq 'yes') { Set-Applied $Run $Candidate.TokenDigest; $Run.report.code = 'already'; return }
        if ($match -eq 'unsaid') { Set-Failure $Run $Code $Detail; $Run.report.live = 'unknown'; return }
    }
    Deny-Change $Run $Code $Detail
    # That was tried, whatever the journal lacks.
    if ($Doubtful -and $null -eq (Get-Own $Run)) { $Run.report.live = 'old' }
}

# Gives a key also where nothing may be changed any more: what is in force is
# then found out with a password sealed to it.
function Invoke-Prepare([hashtable] $Run) {
    $obstacle = $null
    $shut = Test-Shut $Run
    if (-not $shut) {
        $obstacle = Get-Obstacle $Run
        if ($null -ne $obstacle -and -not $Run.doubtful -and (Get-Reached $Run) -notin 'begun', 'applied') {
            Deny-Change $Run $obstacle 'found while getting ready'
            return
        }
        if ($null -ne $obstacle) { Set-Failure $Run $obstacle 'found while getting ready' }
    }
    Remove-DeadKeys $Run
    $key = Read-Key (Get-KeyPath $Run)
    if ($null -ne $key -and $key.expires -lt (Get-Now) + $script:KeySecondsLeft) { $key.pair.Dispose(); $key = $null }
    if ($null -eq $key) { $key = New-Key $Run }
    if (-not $shut -and $null -eq $obstacle -and (Get-Reached $Run) -eq '') {
        Set-Rotation $Run 'prepared' ''
        if (-not (Save-Journal $Run)) { $key.pair.Dispose(); return }
    }
    $Run.report.live = Get-Live $Run
    $Run.report.key = $key
}

function Invoke-Apply([hashtable] $Run) {
    if (Test-Shut $Run) { return }
    $own = Get-Own $Run
    if ($null -ne $own -and $own.user -ne $Run.request.user) { Set-Failure $Run 'bad_request' 'this rotation was begun for another user'; return }
    $reached = Get-Reached $Run
    $candidate = Open-Candidate $Run
    if ($null -eq $candidate) { return }
    try {
        $digest = $candidate.TokenDigest
        if ($null -ne $own -and $own.new -ne '' -and $own.new -cne $digest) { Set-Failure $Run 'bad_request' 'this rotation was begun with another credential'; return }
        $doubtful = $Run.doubtful -or $null -eq $own -or $reached -eq 'begun'
        if ($reached -eq 'applied') {
            $match = Test-Candidate $Run $candidate
            if ($match -eq 'yes') { Set-Applied $Run $digest; $Run.report.code = 'already'; return }
            if ($match -eq 'unsaid') {
                Set-Failure $Run 'verify_failed' 'set before, and a logon does not show whether it is in force'
                $Run.report.live = 'unknown'
                return
            }
            $own.reached = 'begun'
        }
        $obstacle = Get-Obstacle $Run
        if ($null -ne $obstacle) { Deny-AfterDoubt $Run $candidate $doubtful $obstacle 'found before the change'; return }
        Set-Rotation $Run 'begun' $digest
        if (-not (Save-Journal $Run)) { return }
        $problem = $candidate.Put($Run.request.user)
        # Windows may refuse after it has set it.
        if ($problem -ne 0) { Deny-AfterDoubt $Run $candidate $true (Get-SetCode $problem) "NetUserSetInfo answered $problem"; return }
        $Run.report.changed = $true
        if ((Test-Candidate $Run $candidate) -eq 'yes') { Set-Applied $Run $digest; return }
        Set-Failure $Run 'verify_failed' 'the password was set, and a logon with it does not show that'
        $Run.report.live = 'unknown'
    } finally { $candidate.Dispose() }
}

# Notes that a logon did not work, and answers what that means.
function Set-NotInForce([hashtable] $Run) {
    $own = Get-Own $Run
    if ($null -eq $own) {
        $last = $Run.journal.rotation
        $replaced = (Test-Overtaken $Run) -and $last.reached -notin 'prepared', 'restored'
        $Run.report.live = if ($replaced) { 'other' } else { 'old' }
        return
    }
    $Run.report.live = if ($own.held) { 'other' } else { 'old' }
    $next = $own.reached
    if ($own.reached -eq 'applied') { $next = 'begun' }
    if (-not $own.held -and ($own.reached -eq 'begun' -or ($own.reached -eq 'prepared' -and $Run.doubtful))) { $next = 'restored' }
    if ($next -ceq $own.reached) { return }
    $own.reached = $next
    $own.settled = Get-Now
    Save-OrWarn $Run
}

# Says what is in force: by the journal, and where the password came along, by
# one logon. That mends the journal after a crash.
function Invoke-Look([hashtable] $Run) {
    $Run.report.live = Get-Live $Run
    if ($null -eq $Run.request.enc) { return }
    $candidate = Open-Candidate $Run
    if ($null -eq $candidate) {
        $Run.report.code = 'ok'
        $Run.report.detail = $null
        $Run.report.warn += 'candidate_not_opened'
        return
    }
    try {
        $match = Test-Candidate $Run $candidate
        if ($match -eq 'no') { Set-NotInForce $Run }
        if ($match -ne 'yes') { return }
        # What a later rotation wrote down stays.
        $reached = Get-Reached $Run
        $mend = $reached -notin 'applied', 'finalized' -or ($reached -eq 'applied' -and (Test-ChangedOutside $Run))
        if ($mend -and -not (Test-Overtaken $Run)) { Set-Applied $Run $candidate.TokenDigest }
        $Run.report.live = 'new'
        $Run.report.proof = $candidate.TokenDigest
    } finally { $candidate.Dispose() }
}

function Invoke-Verify([hashtable] $Run) {
    Invoke-Look $Run
    if ($Run.report.live -ne 'new') { Set-Failure $Run 'verify_failed' 'the new password is not in force' }
}

function Invoke-Finalize([hashtable] $Run) {
    $own = Get-Own $Run
    if ($null -eq $own) {
        $Run.report.final = (Get-Gate $Run) -ne ''
        Set-Failure $Run 'stale_gen' 'this is not the last rotation begun here'
        return
    }
    if ($own.reached -notin 'applied', 'finalized') { Set-Failure $Run 'verify_failed' 'the new password is not in force'; return }
    $own.reached = 'finalized'
    $own.fenced = $false
    $own.settled = Get-Now
    if (-not (Save-Journal $Run)) { return }
    Remove-Key (Get-KeyPath $Run)
    $Run.report.live = Get-Live $Run
}

function Invoke-Fence([hashtable] $Run) {
    # Before looking, so that what is then seen stays.
    $Run.journal.fence_gen = [Math]::Max([long] $Run.journal.fence_gen, [long] $Run.request.gen)
    Add-Tombstone $Run
    $own = Get-Own $Run
    if ($null -ne $own -and $own.reached -ne 'finalized') { $own.fenced = $true }
    if (-not (Save-Journal $Run)) { return }
    $Run.report.final = $true
    Invoke-Look $Run
    # Until it is known what is in force, and written down, the key may be needed
    # to find out.
    if ($Run.report.live -ne 'unknown' -and $Run.report.warn -notcontains 'journal_not_written') { Remove-Key (Get-KeyPath $Run) }
}

function Get-Facts([hashtable] $Run) {
    $account = $Run.account
    $exists = -not $account.domain_controller -and $account.problem -eq 0
    $state = 'enabled'
    if ($account.disabled) { $state = 'disabled' } elseif ($account.expired) { $state = 'expired' } elseif ($account.locked) { $state = 'locked_out' } elseif ($account.must_change) { $state = 'must_change' }
    $last = $Run.journal.rotation
    $journal = [ordered] @{ gen = $null; rid = $null; phase = $null; fence_gen = $Run.journal.fence_gen }
    if ($null -ne $last) { $journal.gen = $last.gen; $journal.rid = $last.rid; $journal.phase = $last.reached }
    return [ordered] @{
        os = 'windows'; distro = [string] (Get-SystemName)
        user = [ordered] @{ exists = $exists; local = $exists; state = $state; uid = $account.rid }
        journal = $journal
    }
}

# Carries a request out. Gives the line to print and the exit status.
function Get-Answer([string] $Instance, [string] $Encoded) {
    $run = @{
        request = @{ op = $null; rid = $null; gen = $null; att = $null }; report = New-Report; journal = $null
        account = $null; folder = $null; locks = @(); doubtful = $false; damaged = $false
    }
    try {
        $run.request = Read-Request $Encoded
        $script:Asked = $run.request
        try { Import-Types } catch {
            # The compiler works with files of its own.
            if ((Get-FileCode $_.Exception) -eq 'disk_full') { Set-Failure $run 'disk_full' 'no room for making the compiled part'; throw 'said' }
            Set-Failure $run 'tool_missing' 'the compiled part cannot be made: constrained language mode, or a .NET Framework before 4.6'
            throw 'said'
        }
        if ($null -ne $run.request.bad) { Set-Failure $run 'bad_request' $run.request.bad; throw 'said' }
        if ($run.request.inst -cne $Instance) { Set-Failure $run 'wrong_instance' 'the request is for another instance'; throw 'said' }
        if (-not (Test-Elevated)) { Set-Failure $run 'not_root' 'neither SYSTEM nor an administrator'; throw 'said' }
        try { $run.folder = Initialize-Folder } catch { Set-Failure $run (Get-FileCode $_.Exception) 'the folder of the journal cannot be used'; throw 'said' }
        if (-not (Enter-Locks $run)) { Set-Failure $run 'busy' 'another run holds the lock'; throw 'said' }
        $null = Read-Journal $run
        $run.account = Get-AccountFacts $run.request.user
        if (Test-ChangedOutside $run) { $run.report.warn += 'changed_outside' }
        $run.report.live = Get-Live $run
        switch ($run.request.op) {
            'prepare' { $null = Invoke-Prepare $run }
            'apply' { $null = Invoke-Apply $run }
            'verify' { $null = Invoke-Verify $run }
            'finalize' { $null = Invoke-Finalize $run }
            'status' { $null = Invoke-Look $run }
            'fence' { $null = Invoke-Fence $run }
        }
        $run.report.facts = Get-Facts $run
    } catch {
        # Whatever an error says stays here.
        if ($run.report.code -in 'ok', 'already') {
            Set-Failure $run (Get-FileCode $_.Exception) 'the script failed'
            $run.report.live = 'unknown'
            $run.report.final = $false
        }
    } finally { Exit-Locks $run }
    $line = ConvertTo-Line $run
    if ($null -ne $run.report.key) { $run.report.key.pair.Dispose() }
    return @{ line = $line; exit = Get-ExitCode $run.report }
}

# ---------------------------------------------------------------------------

# Dot-sourced: the functions are there, and nothing runs.
if ($MyInvocation.InvocationName -eq '.') { return }
if ($Version) { [Console]::Out.WriteLine("strongroom-rotator $script:PluginVersion"); exit 0 }
if ($Help -or $Command -ne 'run') {
    [Console]::Out.WriteLine('Usage: strongroom-rotator.ps1 run -Instance ID -Request TEXT')
    [Console]::Out.WriteLine('Changes one password of this instance, as Strongroom asks. The request is JSON in')
    [Console]::Out.WriteLine('base64url; the last line of the output is the result. Must run as SYSTEM or administrator.')
    if ($Help) { exit 0 }
    exit 15
}
try {
    $answer = Get-Answer $Instance $Request
} catch {
    $code = Get-FileCode $_.Exception
    $words = foreach ($name in 'op', 'rid') { if ($null -eq $script:Asked[$name]) { 'null' } else { '"' + $script:Asked[$name] + '"' } }
    $line = '{"strongroom":1,"op":' + $words[0] + ',"rid":' + $words[1] + ',"ok":false,"code":"' + $code + '","changed":false,"final":false,"live":"unknown"}'
    $answer = @{ line = $line; exit = 10 }
}
# Not by way of the pipeline, which would fold a long line.
[Console]::Out.WriteLine($answer.line)
exit $answer.exit
