//! The arguments of `data`.

use clap::{Args, Subcommand};
use storage_core::Context;

use super::StorageArguments;

/// Reads and writes of data.
#[derive(Debug, Subcommand)]
pub(crate) enum DataAction {
    /// Print the contexts, one per line: number of entries, tab, context
    Contexts(StorageArguments),
    /// Print all entries of a context, one per line: key, tab, value
    List(ListArguments),
    /// Print the value of a key; the exit code is 1 if it is absent
    Get(GetArguments),
    /// Set the value of a key
    Put(PutArguments),
    /// Remove keys
    Delete(DeleteArguments),
}

/// Which data, and in which form.
#[derive(Debug, Args)]
pub(crate) struct ContextArguments {
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// The namespace of the data
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Context,
    /// Keys and values are text, not hexadecimal
    ///
    /// Bytes that are not printable text are printed as hex:….
    #[arg(long)]
    pub(crate) text: bool,
}

/// What to list.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) target: ContextArguments,
    /// Print JSON objects in the format of export
    #[arg(long, conflicts_with = "text")]
    pub(crate) json: bool,
}

/// What to read.
#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    #[command(flatten)]
    pub(crate) target: ContextArguments,
    /// The key
    pub(crate) key: String,
}

/// What to write.
#[derive(Debug, Args)]
pub(crate) struct PutArguments {
    #[command(flatten)]
    pub(crate) target: ContextArguments,
    /// The key
    pub(crate) key: String,
    /// The value, which may be empty
    pub(crate) value: String,
}

/// What to remove.
#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    #[command(flatten)]
    pub(crate) target: ContextArguments,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// The keys
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}
