//! Places in a document: JSON pointers (RFC 6901) inside, YAML paths for the reader.

use serde_json::Value;

/// The pointer to `key` below `parent`.
pub(super) fn child(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The pointer's place as a reader of the YAML names it: `targets[0].tls.ca`, `labels["a.b/c"]`.
pub(super) fn yaml_path(root: &Value, pointer: &str) -> String {
    let (mut path, mut here) = (String::new(), Some(root));
    for segment in pointer.split('/').skip(1) {
        let key = segment.replace("~1", "/").replace("~0", "~");
        match here {
            Some(Value::Array(items)) => {
                path.push_str(&format!("[{key}]"));
                here = key.parse::<usize>().ok().and_then(|index| items.get(index));
            }
            parent => {
                push_key(&mut path, &key);
                here = parent.and_then(|value| value.get(&key));
            }
        }
    }
    path
}

/// Adds the index of an entry.
pub(super) fn push_index(path: &mut String, index: usize) {
    path.push_str(&format!("[{index}]"));
}

/// Adds a key, quoted where it is not plain.
pub(super) fn push_key(path: &mut String, key: &str) {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    match (plain, path.is_empty()) {
        (true, true) => path.push_str(key),
        (true, false) => path.extend([".", key]),
        (false, _) => path.push_str(&format!("[{key:?}]")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{child, yaml_path};

    #[test]
    fn lists_have_indexes_and_odd_keys_are_quoted() {
        let root = json!({"a": [{"b": {"x.y/z~": 1}}], "0": {"1": 2}});
        assert_eq!(yaml_path(&root, "/a/0/b"), "a[0].b");
        assert_eq!(yaml_path(&root, &child("/a/0/b", "x.y/z~")), r#"a[0].b["x.y/z~"]"#);
        assert_eq!(yaml_path(&root, "/0/1"), "0.1");
        assert_eq!(yaml_path(&root, ""), "");
    }
}
