//! A file of users and their passwords.
//!
//! A line is `NAME:HASH`, or `NAME:HASH:VERIFIER:GROUPS` where what follows the hash may be left out: what SCRAM needs,
//! and groups with commas between them. Lines that are empty or begin with `#` are passed over. So Mosquitto's files
//! are read as they are. The file is read again when it has changed; one that is wrong changes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use quelea_codec::ReasonCode;
use stringprep::saslprep;

use crate::hash::Hash;
use crate::scram::{self, Conversation, Verifier};
use crate::watched::{Watched, may_pass};
use crate::{Credentials, Exchange, Identity, Source, Verdict};

/// A password file as a source of identities.
pub struct PasswordFile {
    file: Watched,
    users: RwLock<Arc<Known>>,
}

/// The users of a file.
struct Known {
    users: Users,
    /// By names as SASLprep prepares them, those users who have others and are meant by them alone.
    prepared: BTreeMap<Box<str>, Box<str>>,
    /// With it the salts of users that are not there are made.
    decoy_key: [u8; 32],
}

/// The users of a password file, for those who change one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<Box<str>, User>);

/// What a file says of one user.
#[derive(Clone, PartialEq, Eq)]
struct User {
    hash: Hash,
    verifier: Option<Verifier>,
    groups: Box<[Box<str>]>,
}

/// Whether a user can authenticate by SCRAM too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scram {
    /// What that needs is written beside the hash.
    Kept,
    /// It is not: the file is then worth only what Argon2id allows.
    LeftOut,
}

/// Why a password file cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum PasswordFileError {
    /// It cannot be read or written.
    Io(PathBuf, io::Error),
    /// A line is wrong: its number, and what is wrong with it, without anything that stands in it.
    Line(PathBuf, usize, &'static str),
    /// The system has no randomness, or not enough memory for a hash.
    System,
}

impl PasswordFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a line of it is wrong.
    pub fn open(path: &Path) -> Result<Self, PasswordFileError> {
        let file = Watched::new(path);
        let users = Users::read(path)?;
        let mut decoy_key = [0; 32];
        aws_lc_rs::rand::fill(&mut decoy_key).map_err(|_| PasswordFileError::System)?;
        Ok(Self { file, users: RwLock::new(Arc::new(Known::new(users, decoy_key))) })
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, users: Users) {
        let mut known = self.users.write().unwrap_or_else(PoisonError::into_inner);
        *known = Arc::new(Known::new(users, known.decoy_key));
    }
}

impl Source for PasswordFile {
    fn judge(&self, credentials: &Credentials) -> Verdict {
        let (Some(name), Some(password)) = (&credentials.user_name, &credentials.password) else {
            return Verdict::Next;
        };
        let known = self.known();
        let Some(user) = known.users.0.get(name) else {
            // It takes as long as for a user that is there, so that nobody learns who is.
            if let Some(other) = known.users.0.values().next() {
                let _ = std::hint::black_box(other.hash.is_of(password.bytes()));
            }
            return Verdict::Next;
        };
        match user.hash.is_of(password.bytes()) {
            true => Verdict::Accept(user.identity(name)),
            false => Verdict::Refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        }
    }

    fn begin(&self, method: &str, _: &str) -> Option<Box<dyn Exchange>> {
        if method != scram::METHOD {
            return None;
        }
        Some(Box::new(Conversation::new(self.known())?))
    }

    fn refresh(&self) {
        if !self.file.has_changed() {
            return;
        }
        let path = self.file.path();
        match Users::read(path) {
            Ok(users) => {
                tracing::info!(file = %path.display(), users = users.0.len(), "read again");
                self.replace(users);
            }
            Err(error) => {
                let may_pass = matches!(&error, PasswordFileError::Io(_, io) if may_pass(io));
                if !may_pass || self.file.try_again() {
                    tracing::error!(%error, "the users stay as they were");
                }
            }
        }
    }
}

impl Known {
    fn new(users: Users, decoy_key: [u8; 32]) -> Self {
        let mut prepared: BTreeMap<Box<str>, Option<Box<str>>> = BTreeMap::new();
        for name in users.0.keys() {
            let Ok(other) = saslprep(name) else { continue };
            if *other != **name && !users.0.contains_key(&*other) {
                let twins = prepared.entry((*other).into());
                twins.and_modify(|it| *it = None).or_insert_with(|| Some(name.clone()));
            }
        }
        let prepared = prepared.into_iter().filter_map(|(it, name)| Some((it, name?))).collect();
        Self { users, prepared, decoy_key }
    }
}

impl scram::Users for Arc<Known> {
    fn user(&self, name: &str) -> Option<(Verifier, Identity)> {
        let name = self.prepared.get(name).map_or(name, |it| it);
        let user = self.users.0.get(name)?;
        Some((user.verifier.clone()?, user.identity(name)))
    }

    fn decoy(&self, name: &str) -> Verifier {
        Verifier::decoy(&self.decoy_key, name)
    }
}

impl User {
    fn identity(&self, name: &str) -> Identity {
        Identity { groups: self.groups.clone(), ..Identity::of_user(name) }
    }
}

impl Users {
    /// Reads the users of a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a line of it is wrong.
    pub fn read(path: &Path) -> Result<Self, PasswordFileError> {
        let fail = |error| PasswordFileError::Io(path.to_owned(), error);
        let mut text = String::new();
        let file = File::open(path).map_err(fail)?;
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(fail)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(fail(io::Error::other("it is larger than 64 MiB")));
        }
        Self::parse(&text)
            .map_err(|(line, why)| PasswordFileError::Line(path.to_owned(), line, why))
    }

    /// Reads the users of a text.
    ///
    /// # Errors
    ///
    /// The number of a line that is wrong, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut users = BTreeMap::new();
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let fail = |why| (index + 1, why);
            // Whoever writes a file writes this last: without it something is missing.
            let line =
                line.strip_suffix('\n').ok_or(fail("it does not end: is the file whole?"))?;
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, user) = parse_line(line).map_err(fail)?;
            if users.insert(name.into(), user).is_some() {
                return Err(fail("its user was named before"));
            }
        }
        Ok(Self(users))
    }

    /// Sets the password of a user, who is added if it is not there. Groups that are not given stay.
    ///
    /// # Errors
    ///
    /// The system has no randomness or no memory.
    pub fn set(
        &mut self,
        name: &str,
        password: &[u8],
        scram: Scram,
        groups: Option<Vec<Box<str>>>,
    ) -> Result<(), PasswordFileError> {
        let verifier = match scram {
            Scram::Kept => Some(Verifier::of(password).ok_or(PasswordFileError::System)?),
            Scram::LeftOut => None,
        };
        let hash = Hash::of(password).ok_or(PasswordFileError::System)?;
        let before = self.0.remove(name).map(|user| user.groups).unwrap_or_default();
        let groups = groups.map_or(before, Vec::into_boxed_slice);
        self.0.insert(name.into(), User { hash, verifier, groups });
        Ok(())
    }

    /// Removes a user. Returns whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Returns whether this is the password of a user that is there.
    pub fn has(&self, name: &str, password: &[u8]) -> bool {
        self.0.get(name).is_some_and(|user| user.hash.is_of(password))
    }

    /// Writes the file anew. Whoever reads it meanwhile sees the old one or the new one, each whole; so does whoever
    /// reads it after a crash. Owner and mode stay; a new file is its owner's alone to read.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PasswordFileError> {
        self.replace_file(path).map_err(|error| PasswordFileError::Io(path.to_owned(), error))
    }

    fn replace_file(&self, path: &Path) -> io::Result<()> {
        // A link stays one.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let before: Option<Metadata> = match fs::metadata(&path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let next = path.with_file_name(name);
        let mut options = File::options();
        let written =
            options.write(true).create_new(true).mode(0o600).open(&next).and_then(|mut file| {
                file.write_all(self.to_string().as_bytes())?;
                if let Some(before) = before {
                    file.set_permissions(before.permissions())?;
                    let new = file.metadata()?;
                    if (new.uid(), new.gid()) != (before.uid(), before.gid()) {
                        fchown(&file, Some(before.uid()), Some(before.gid()))?;
                    }
                }
                file.sync_all()?;
                fs::rename(&next, &path)
            });
        if let Err(error) = written {
            // What is left is of no use to anyone; that it may be gone already is no matter.
            let _ = fs::remove_file(&next);
            return Err(error);
        }
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// Returns whether a name can stand in a password file.
pub fn is_user_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('#') && !name.contains([':', '\n', '\r', '\0'])
}

fn parse_line(line: &str) -> Result<(&str, User), &'static str> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|it| is_user_name(it)).ok_or("it has no user")?;
    let hash = Hash::parse(fields.next().ok_or("it has no password")?)?;
    let verifier = match fields.next() {
        None | Some("") => None,
        Some(text) => Some(Verifier::parse(text).ok_or("what SCRAM needs is not whole")?),
    };
    let groups = fields.next().unwrap_or_default().split(',').map(str::trim);
    let groups = groups.filter(|it| !it.is_empty()).map(Into::into).collect();
    match fields.next() {
        Some(_) => Err("it has more than user, hash, SCRAM and groups"),
        None => Ok((name, User { hash, verifier, groups })),
    }
}

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, User { hash, verifier, groups }) in &self.0 {
            write!(f, "{name}:{hash}")?;
            if verifier.is_some() || !groups.is_empty() {
                let verifier = verifier.as_ref().map(ToString::to_string).unwrap_or_default();
                write!(f, ":{verifier}")?;
            }
            if !groups.is_empty() {
                write!(f, ":{}", groups.join(","))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without their hashes.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFile").field("path", &self.file.path()).finish_non_exhaustive()
    }
}

impl fmt::Display for PasswordFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Line(path, line, why) => write!(f, "{}:{line}: {why}", path.display()),
            Self::System => f.write_str("the system has no randomness, or not enough memory"),
        }
    }
}

impl std::error::Error for PasswordFileError {}

const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_written_as_it_is_read() {
        let mut users = Users::default();
        users.set("bob", b"pencil", Scram::Kept, Some(vec!["staff".into(), "ops".into()])).unwrap();
        users.set("amy", b"paper", Scram::LeftOut, None).unwrap();
        let text = users.to_string();
        assert!(Users::parse(&text) == Ok(users.clone()), "{text}");
        assert!(
            users.has("bob", b"pencil") && !users.has("bob", b"paper") && !users.has("eve", b"")
        );
        // A new password keeps the groups.
        users.set("bob", b"ink", Scram::LeftOut, None).unwrap();
        assert!(users.to_string().contains("::staff,ops\n"));
        assert!(users.remove("bob") && !users.remove("bob"));
        assert!(!format!("{users:?}{text:.0}").contains("argon2id"));
    }

    #[test]
    fn mistakes_have_the_number_of_their_line() {
        let hash = Hash::of(b"x").unwrap();
        let good = format!("# comment\n\nbob:{hash}\r\n");
        assert!(Users::parse(&good).is_ok());
        for (line, why) in [
            ("eve", "it does not end: is the file whole?"),
            ("eve\n", "it has no password"),
            (":x\n", "it has no user"),
            ("eve:secret\n", "it has no hash of a kind that is known ($argon2id$, $7$ or $6$)"),
            (&format!("bob:{hash}\n"), "its user was named before"),
            (&format!("eve:{hash}:scram\n"), "what SCRAM needs is not whole"),
            (&format!("eve:{hash}:::\n"), "it has more than user, hash, SCRAM and groups"),
        ] {
            assert!(Users::parse(&format!("{good}{line}")) == Err((4, why)), "{line}");
        }
    }

    /// Whatever the end of the file is cut off, it is noticed or leaves whole users.
    #[test]
    fn a_file_cut_anywhere_is_refused_or_has_whole_users() {
        let mut users = Users::default();
        users.set("bob", b"x", Scram::Kept, Some(vec!["ops".into()])).unwrap();
        users.set("car", b"y", Scram::LeftOut, None).unwrap();
        let text = users.to_string();
        for end in 0..text.len() {
            let is_between = end == 0 || text.as_bytes()[end - 1] == b'\n';
            assert_eq!(Users::parse(&text[..end]).is_ok(), is_between, "{end}");
        }
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_wrong_one_is_not() {
        let file = Scratch::new("reload");
        let mut users = Users::default();
        users.set("bob", b"1", Scram::LeftOut, None).unwrap();
        users.write(&file.0).unwrap();
        assert_eq!(fs::metadata(&file.0).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&file.0, fs::Permissions::from_mode(0o640)).unwrap();
        let source = PasswordFile::open(&file.0).unwrap();
        check(&source, "1", true);
        users.set("bob", b"2", Scram::LeftOut, None).unwrap();
        users.write(&file.0).unwrap();
        assert_eq!(fs::metadata(&file.0).unwrap().permissions().mode() & 0o777, 0o640);
        source.refresh();
        check(&source, "1", true);
        source.refresh();
        check(&source, "2", true);
        check(&source, "1", false);
        for broken in ["bob:$argon2id$v=19\n", "bob"] {
            fs::write(&file.0, broken).unwrap();
            source.refresh();
            source.refresh();
            check(&source, "2", true);
        }
        fs::remove_file(&file.0).unwrap();
        source.refresh();
        source.refresh();
        check(&source, "2", true);
    }

    #[test]
    fn users_that_are_not_there_are_left_to_others() {
        let file = Scratch::new("unknown");
        Users::default().write(&file.0).unwrap();
        let source = PasswordFile::open(&file.0).unwrap();
        assert_eq!(source.judge(&login("bob", "1")), Verdict::Next);
        assert_eq!(source.judge(&Credentials::default()), Verdict::Next);
        assert!(
            source.begin("SCRAM-SHA-256", "").is_some()
                && source.begin("SCRAM-SHA-1", "").is_none()
        );
    }

    /// RFC 5802 section 5.1: a client prepares its name and its password, and whoever wrote the file need not know of that.
    #[test]
    fn scram_finds_users_by_their_prepared_names() {
        let known = |names: &[&str]| {
            let mut users = Users::default();
            for name in names {
                users.0.insert((*name).into(), user());
            }
            Arc::new(Known::new(users, [0; 32]))
        };
        let user_of = |known: &Arc<Known>, name: &str| {
            let (_, identity) = scram::Users::user(known, name)?;
            identity.user
        };
        // The ligature `fi`, a soft hyphen, and what they become.
        let ours = known(&["\u{FB01}sh", "b\u{AD}ob", "amy"]);
        assert_eq!(user_of(&ours, "fish").as_deref(), Some("\u{FB01}sh"));
        assert_eq!(user_of(&ours, "bob").as_deref(), Some("b\u{AD}ob"));
        assert_eq!(user_of(&ours, "amy").as_deref(), Some("amy"));
        // A user with the name itself comes first, and of two others neither is meant.
        assert_eq!(user_of(&known(&["bob", "b\u{AD}ob"]), "bob").as_deref(), Some("bob"));
        assert_eq!(user_of(&known(&["bo\u{AD}b", "b\u{AD}ob"]), "bob"), None);
    }

    fn user() -> User {
        let verifier = Verifier::of(b"pencil").unwrap();
        let hash = Hash::of(b"pencil").unwrap();
        User { hash, verifier: Some(verifier), groups: Box::default() }
    }

    #[track_caller]
    fn check(source: &PasswordFile, password: &str, is_right: bool) {
        let expected = match is_right {
            true => Verdict::Accept(Identity::of_user("bob")),
            false => Verdict::Refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        };
        assert_eq!(source.judge(&login("bob", password)), expected);
    }

    fn login(name: &str, password: &str) -> Credentials {
        let password = Some(password.as_bytes().into());
        Credentials { user_name: Some(name.into()), password, ..Credentials::default() }
    }

    /// A file that is gone when its test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("quelea-auth-{}-{name}", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }
}
