//! A root of its own with the real sendmail that `compare/fetch` unpacked. Used by both oracles.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program in it.
pub const PROGRAM: &str = "/usr/libexec/sendmail/sendmail";

/// The root, taken away with the value.
pub struct Root {
    folder: tempfile::TempDir,
    mounted: Vec<&'static str>,
}

impl Root {
    /// A fresh one; `None`, with the reason printed, where there is no sendmail.
    pub fn unpack() -> Option<Self> {
        let packed =
            std::env::var_os("POSTRIDER_ORACLE").map_or_else(|| "/var/tmp/postrider-sendmail".into(), PathBuf::from);
        if !packed.join("complete").exists() {
            eprintln!("SKIPPED: no sendmail in {} (testsuite/compare/fetch gets it)", packed.display());
            return None;
        }
        let folder = tempfile::Builder::new().prefix("postrider-oracle.").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        command("cp", &["-a", &format!("{}/root/.", packed.display()), &folder.path().to_string_lossy()]);
        let root = Self { folder, mounted: Vec::new() };
        for (file, text) in [
            ("etc/nsswitch.conf", "hosts: files\npasswd: files\ngroup: files\n"),
            ("etc/mail/service.switch", "hosts files\naliases files\npasswd files\n"),
        ] {
            fs::write(root.path(file), text).unwrap();
        }
        for file in ["etc/passwd", "etc/group", "etc/shells"] {
            let _ = fs::copy(Path::new("/").join(file), root.path(file));
        }
        Some(root)
    }
    /// Where a path of it is for us.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }
    /// Shows a folder of the host in it, under the same name.
    pub fn bind(&mut self, folder: &'static str) {
        fs::create_dir_all(self.path(folder)).unwrap();
        command("mount", &["--bind", folder, &self.path(folder).to_string_lossy()]);
        self.mounted.push(folder);
    }
    /// A program of it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.folder.path()).arg(program);
        command
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        for folder in &self.mounted {
            let _ = Command::new("umount").arg("-l").arg(self.path(folder)).status();
        }
    }
}

/// Runs a command that must succeed; its output.
pub fn command(program: &str, arguments: &[&str]) -> Vec<u8> {
    let out = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(out.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}
