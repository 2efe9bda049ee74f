//! One word, one meaning: a type name that is defined more than once in the workspace is listed with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The list, from the root of the workspace.
const LIST: &str = "docs/src/type-names.md";

#[test]
fn type_names_are_unique_or_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root of the workspace");
    let mut places: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    let mut read = 0;
    let visited = visit(root, &mut |file| {
        read += 1;
        let text = fs::read_to_string(file).expect("a source file");
        let place = file.strip_prefix(root).expect("a file in the workspace");
        for name in text.lines().filter_map(defined_type) {
            places.entry(name.to_owned()).or_default().insert(place.to_owned());
        }
    });
    visited.expect("the source files");
    assert!(read > 200, "only {read} source files were found in {}", root.display());
    let repeated: BTreeMap<_, _> = places.into_iter().filter(|(_, files)| files.len() > 1).collect();
    let list = fs::read_to_string(root.join(LIST)).expect(LIST);
    let listed: BTreeSet<&str> = list.lines().filter_map(listed_type).collect();
    let unlisted: Vec<_> = repeated.iter().filter(|(name, _)| !listed.contains(name.as_str())).collect();
    let outdated: Vec<_> = listed.iter().filter(|name| !repeated.contains_key(**name)).collect();
    assert!(
        unlisted.is_empty(),
        "defined more than once: {unlisted:#?}\nrename all but one of each, or give the reason in {LIST}"
    );
    assert!(outdated.is_empty(), "no longer defined more than once; take them out of {LIST}: {outdated:?}");
}

/// Calls `found` for each source file of the workspace's packages.
fn visit(directory: &Path, found: &mut impl FnMut(&Path)) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            visit(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found(&path);
        }
    }
    Ok(())
}

/// The type that a line defines. Associated types, which are indented, are none.
fn defined_type(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().peekable();
    words.next_if(|word| word.starts_with("pub"));
    let is_type = match words.next()? {
        "struct" | "enum" | "trait" | "union" => true,
        "type" => !line.starts_with(char::is_whitespace),
        _ => false,
    };
    let name = words.next().filter(|_| is_type)?;
    let end = name.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(name.len());
    Some(&name[..end]).filter(|name| name.starts_with(char::is_uppercase))
}

/// The name in a row of the list's table.
fn listed_type(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name)
}

#[test]
fn definitions_are_recognized() {
    let lines = [
        ("pub(crate) struct Batches {", Some("Batches")),
        ("    enum Step<'a> {", Some("Step")),
        ("type Waiter = oneshot::Sender<()>;", Some("Waiter")),
        ("    type Request = Peer;", None),
        ("/// A struct of ours", None),
        ("trait Layer: Send {", Some("Layer")),
    ];
    for (line, name) in lines {
        assert_eq!(defined_type(line), name, "{line}");
    }
}
