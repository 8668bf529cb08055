//! Keys that sign sessions: never shown, and read from files of their own.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A key that both ends of a session know. It compares by its octets, so that another one is
/// noticed, and tells nobody what they are: it has no `Display`, and `Debug` leaves them out.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// Why octets are no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// There are none.
    #[error("is empty; a key has 1 to 80 octets")]
    Empty,
    /// More than the kernel takes (`TCP_MD5SIG_MAXKEYLEN`); cut off, it would be another key.
    #[error("has {0} octets; a key has 1 to 80")]
    TooLong(usize),
    /// As a file has that is something else.
    #[error("is not one line; a key is 1 to 80 octets without line breaks and NUL")]
    NotALine,
    /// The file cannot be read.
    #[error("{0}; it must be a file that holds the key, 1 to 80 octets")]
    File(String),
}

impl Secret {
    /// The most octets that the kernel takes.
    pub const MOST: usize = 80;

    /// These octets as a key. A line break at the end is not part of it: editors and `echo` add
    /// one.
    ///
    /// # Errors
    /// If nothing or too much is left, or more than a line.
    pub fn new(octets: &[u8]) -> Result<Self, BadKey> {
        let line = octets.strip_suffix(b"\n").unwrap_or(octets);
        let line =
            if line.len() < octets.len() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        match line.len() {
            0 => Err(BadKey::Empty),
            _ if line.iter().any(|octet| matches!(octet, b'\n' | b'\r' | 0)) => {
                Err(BadKey::NotALine)
            }
            1..=Self::MOST => Ok(Self(line.into())),
            length => Err(BadKey::TooLong(length)),
        }
    }

    /// The key in a file.
    ///
    /// # Errors
    /// If it cannot be read, or does not hold a key.
    pub fn read(path: &Path) -> Result<Self, BadKey> {
        /// More than any key has: how long the file really is does not matter.
        const ENOUGH: u64 = 4096;
        let cannot = |error: io::Error| {
            BadKey::File(match error.kind() {
                io::ErrorKind::NotFound => "there is no such file".to_owned(),
                _ => format!("cannot be read ({error})"),
            })
        };
        // A FIFO would block for ever when opened.
        if !fs::metadata(path).map_err(cannot)?.is_file() {
            return Err(BadKey::File("is not a file".to_owned()));
        }
        let mut octets = Vec::new();
        File::open(path).map_err(cannot)?.take(ENOUGH).read_to_end(&mut octets).map_err(cannot)?;
        Self::new(&octets)
    }

    /// The octets, for the kernel.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether others than owner and group may read the file; no if there is none.
pub(crate) fn is_open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_of_up_to_eighty_octets() {
        let long = [b'k'; 81];
        for (octets, want) in [
            (&b"k"[..], Ok(&b"k"[..])),
            (b"a key\n", Ok(b"a key")),
            (b"a key\r\n", Ok(b"a key")),
            (b"\xff\x01", Ok(b"\xff\x01")),
            (&long[..80], Ok(&long[..80])),
            (&long, Err(BadKey::TooLong(81))),
            (b"", Err(BadKey::Empty)),
            (b"\n", Err(BadKey::Empty)),
            (b"a\nb", Err(BadKey::NotALine)),
            (b"a\n\n", Err(BadKey::NotALine)),
            (b"a\0", Err(BadKey::NotALine)),
            (b"a\r", Err(BadKey::NotALine)),
        ] {
            let got = Secret::new(octets);
            assert_eq!(got.as_ref().map(Secret::octets), want.as_ref().copied(), "{octets:?}");
        }
    }

    #[test]
    fn what_a_key_is_stays_untold_and_yet_makes_a_difference() {
        let [one, same, other] = [b"swordfish", b"swordfish", b"swordfist"].map(|k| Secret::new(k));
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(format!("{one:?} {one:#?}"), "Ok(Secret(..)) Ok(\n    Secret(..),\n)");
    }

    #[test]
    fn a_file_that_is_none_says_so() {
        let missing = Secret::read(Path::new("/no/such/file")).unwrap_err().to_string();
        let want = "there is no such file; it must be a file that holds the key, 1 to 80 octets";
        assert_eq!(missing, want);
        let folder = Secret::read(Path::new("/")).unwrap_err().to_string();
        assert!(folder.starts_with("is not a file; it must be"), "{folder}");
        assert_eq!(Secret::read(Path::new("/dev/null")).unwrap_err().to_string(), folder);
    }
}
