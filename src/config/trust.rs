//! Which files are not trusted because somebody else could have written them, in the words of sendmail's DontBlameSendmail. Called by
//! `finish.rs` for every input; the keeper does the checking each time it opens one.

use crate::problem::did_you_mean;
use crate::scalar::{Checked, Scalar, no_hint, quote, text};
use serde::{Deserialize, Deserializer};

/// What a word changes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// A group may write the alias files.
    GroupAliases,
    /// Everybody may write the alias files.
    WorldAliases,
    /// Tables may lie in folders that others may write.
    MapFolders,
    /// Lists may lie in folders that others may write.
    ClassFolders,
    /// In a folder that others may write a sticky bit makes it safe.
    StickyBit,
    /// Folders that a group may write are safe.
    GroupFolders,
    /// A group may write `.forward` files, or everybody.
    GroupForward,
    /// Everybody may.
    WorldForward,
    /// `.forward` files may lie in folders that a group may write.
    ForwardGroupFolders,
    /// Or everybody.
    ForwardFolders,
    /// None: it is so in any case, or about something that is not checked here.
    Nothing,
}

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An alias file or its compiled form.
    Aliases,
    /// Any other table.
    Table,
    /// A list of names.
    List,
    /// A certificate or key.
    Key,
}

text!(
    /// A word of DontBlameSendmail.
    Blame, "a word of sendmail's DontBlameSendmail", blame
);

use Effect::{
    ClassFolders, ForwardFolders, ForwardGroupFolders, GroupAliases, GroupFolders, GroupForward, MapFolders, Nothing,
    StickyBit, WorldAliases, WorldForward,
};

/// The words of sendmail 8.18.
#[rustfmt::skip] // one entry, one line
const WORDS: &[(&str, Effect)] = &[
    ("Safe", Nothing),
    ("AssumeSafeChown", Nothing),
    ("CertOwner", Nothing),
    ("ClassFileInUnsafeDirPath", ClassFolders),
    ("DontWarnForwardFileInUnsafeDirPath", Nothing),
    ("ErrorHeaderInUnsafeDirPath", Nothing),
    ("FileDeliveryToHardLink", Nothing),
    ("FileDeliveryToSymLink", Nothing),
    ("ForwardFileInGroupWritableDirPath", ForwardGroupFolders),
    ("ForwardFileInUnsafeDirPath", ForwardFolders),
    ("ForwardFileInUnsafeDirPathSafe", Nothing),
    ("GroupReadableDefaultAuthInfoFile", Nothing),
    ("GroupReadableKeyFile", Nothing),
    ("GroupReadableSASLDBFile", Nothing),
    ("GroupWritableAliasFile", GroupAliases),
    ("GroupWritableDirPathSafe", GroupFolders),
    ("GroupWritableForwardFile", GroupForward),
    ("GroupWritableForwardFileSafe", Nothing),
    ("GroupWritableIncludeFile", Nothing),
    ("GroupWritableIncludeFileSafe", Nothing),
    ("GroupWritableSASLDBFile", Nothing),
    ("HelpFileInUnsafeDirPath", Nothing),
    ("IncludeFileInGroupWritableDirPath", Nothing),
    ("IncludeFileInUnsafeDirPath", Nothing),
    ("IncludeFileInUnsafeDirPathSafe", Nothing),
    ("InsufficientEntropy", Nothing),
    ("LinkedAliasFileInWritableDir", Nothing),
    ("LinkedClassFileInWritableDir", Nothing),
    ("LinkedForwardFileInWritableDir", Nothing),
    ("LinkedIncludeFileInWritableDir", Nothing),
    ("LinkedMapInWritableDir", Nothing),
    ("LinkedServiceSwitchFileInWritableDir", Nothing),
    ("MapInUnsafeDirPath", MapFolders),
    ("NonRootSafeAddr", Nothing),
    ("RunProgramInUnsafeDirPath", Nothing),
    ("RunWritableProgram", Nothing),
    ("TrustStickyBit", StickyBit),
    ("WorldWritableAliasFile", WorldAliases),
    ("WorldWritableForwardFile", WorldForward),
    ("WorldWritableIncludeFile", Nothing),
    ("WriteMapToHardLink", Nothing),
    ("WriteMapToSymLink", Nothing),
    ("WriteStatsToHardLink", Nothing),
    ("WriteStatsToSymLink", Nothing),
];

/// The word in sendmail's spelling; any case is accepted, as there.
fn blame(text: &str) -> Result<String, String> {
    let found = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(word, _)| (*word).to_owned()).ok_or_else(|| {
        let near = did_you_mean(text, WORDS.iter().map(|(word, _)| *word));
        format!("\"{text}\" is no word of DontBlameSendmail{near}")
    })
}

/// Whether a word changes anything here.
#[must_use]
pub fn has_effect(word: &str) -> bool {
    effects(&[word.to_owned()]).next().is_some_and(|effect| effect != Nothing)
}

fn effects(words: &[String]) -> impl Iterator<Item = Effect> {
    words.iter().filter_map(|word| WORDS.iter().find(|(known, _)| known == word).map(|(_, effect)| *effect))
}

/// The write bits that make a file and the folders on its way untrusted; with the sticky bit (`0o1000`) sticky folders are no better. sendmail looks at the mode of alias files, but at no other
/// table's; a table that everybody may write is refused here all the same.
#[must_use]
pub fn refused(what: What, words: &[String]) -> (u32, u32) {
    let (mut file, mut folders) = match what {
        What::Aliases => (0o022, 0o1022),
        What::Table | What::List => (0o002, 0o1022),
        // Keys have checks of their own.
        What::Key => (0, 0),
    };
    for effect in effects(words) {
        match (effect, what) {
            (GroupAliases, What::Aliases) => file &= !0o020,
            (WorldAliases, What::Aliases) => file &= !0o002,
            (MapFolders, What::Aliases | What::Table) | (ClassFolders, What::List) => folders = 0,
            (GroupFolders, _) => folders &= !0o020,
            (StickyBit, _) => folders &= !0o1000,
            _ => {}
        }
    }
    (file, folders)
}

/// The same for users' `.forward` files.
#[must_use]
pub fn forward(words: &[String]) -> (u32, u32) {
    let (mut file, mut folders) = (0o022, 0o022);
    for effect in effects(words) {
        match effect {
            GroupForward => file &= !0o020,
            WorldForward => file = 0,
            ForwardGroupFolders | GroupFolders => folders &= !0o020,
            ForwardFolders => folders = 0,
            _ => {}
        }
    }
    (file, folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_loosen_what_they_name() {
        let refused = |what, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| blame(w).unwrap()).collect();
            super::refused(what, &words)
        };
        assert_eq!(refused(What::Aliases, &[]), (0o022, 0o1022));
        assert_eq!(refused(What::Aliases, &["groupwritablealiasfile", "TrustStickyBit"]), (0o002, 0o022));
        assert_eq!(refused(What::Table, &["GroupWritableAliasFile", "GroupWritableDirPathSafe"]), (0o002, 0o1002));
        assert_eq!(refused(What::Table, &["MapInUnsafeDirPath"]), (0o002, 0));
        assert_eq!(refused(What::List, &["MapInUnsafeDirPath"]), (0o002, 0o1022));
        assert!(blame("GroupWriteableAliasFile").unwrap_err().contains("did you mean \"GroupWritableAliasFile\""));
        let debian = ["GroupWritableForwardFileSafe", "ForwardFileInGroupWritableDirPath"].map(str::to_owned);
        assert_eq!((forward(&[]), forward(&debian)), ((0o022, 0o022), (0o022, 0o002)));
        assert!(has_effect("MapInUnsafeDirPath") && !has_effect("NonRootSafeAddr"));
    }
}
