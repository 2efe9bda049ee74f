//! `explain`: what an error code means.

use crate::arguments::ExplainArguments;
use crate::commands::CommandContext;
use crate::error_code::ErrorCode;
use crate::exit_code::{CommandResult, Exit};

/// Prints the entry of a code, or all of them as a page.
pub(crate) fn run(context: &mut CommandContext, arguments: &ExplainArguments) -> CommandResult {
    let text = arguments.code.map_or_else(ErrorCode::page, ErrorCode::entry);
    context.output.text(&text)?;
    Ok(Exit::Success)
}
