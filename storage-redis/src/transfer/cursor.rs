//! Where an export is.

use storage_core::Cursor;

/// The last that has been exported. A cursor is: 8 bytes, the export's number; 1 byte, how many names
/// follow; 4 bytes, the length of the outer name; the outer name; the inner name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// A number that tells the sorted pages of different exports apart.
    pub(super) export: u64,
    /// The swarm, info hash or context; it is done unless there is an inner name.
    pub(super) outer: Option<Vec<u8>>,
    /// The peer or key in it.
    pub(super) inner: Option<Vec<u8>>,
}

impl Position {
    /// The beginning of a new export.
    pub(super) fn beginning() -> Self {
        Self { export: rand::random(), outer: None, inner: None }
    }

    pub(super) fn write(&self) -> Cursor {
        let (outer, inner) = (self.outer.as_deref(), self.inner.as_deref());
        let names = u8::from(outer.is_some()) + u8::from(outer.is_some() && inner.is_some());
        let outer = outer.unwrap_or_default();
        let length = u32::try_from(outer.len()).unwrap_or(u32::MAX);
        let mut bytes = self.export.to_be_bytes().to_vec();
        bytes.push(names);
        bytes.extend(length.to_be_bytes());
        bytes.extend(outer);
        bytes.extend(inner.unwrap_or_default());
        Cursor::new(bytes)
    }

    /// Reads what [`write`](Self::write) gave.
    pub(super) fn read(cursor: &Cursor) -> Option<Self> {
        let (export, rest) = cursor.as_bytes().split_first_chunk::<8>()?;
        let (names, rest) = rest.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (outer, inner) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (outer, inner) = match names {
            0 if rest.is_empty() => (None, None),
            1 if inner.is_empty() => (Some(outer.to_vec()), None),
            2 => (Some(outer.to_vec()), Some(inner.to_vec())),
            _ => return None,
        };
        Some(Self { export: u64::from_be_bytes(*export), outer, inner })
    }

    /// All of the outer name is done.
    pub(super) fn finish(&mut self, outer: Vec<u8>) {
        self.outer = Some(outer);
        self.inner = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_position_is_read_back(
            export: u64,
            names in prop::option::of((prop::collection::vec(any::<u8>(), 0..40), any::<Option<Vec<u8>>>())),
        ) {
            let (outer, inner) = names.map_or((None, None), |(outer, inner)| (Some(outer), inner));
            let position = Position { export, outer, inner };
            prop_assert_eq!(Position::read(&position.write()), Some(position));
        }

        #[test]
        fn any_bytes_are_a_position_or_none(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let cursor = Cursor::new(bytes);
            if let Some(position) = Position::read(&cursor) {
                prop_assert_eq!(position.write(), cursor);
            }
        }
    }
}
