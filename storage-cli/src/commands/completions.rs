//! `completions`: completions for shells.

use clap_complete::{Shell, generate};

use crate::arguments::CompletionsArguments;
use crate::commands::CommandContext;
use crate::exit_code::{CommandResult, Exit};

/// Prints the completions of this program's command line.
pub(crate) fn run(context: &mut CommandContext, arguments: &CompletionsArguments) -> CommandResult {
    // They are hidden in the help of commands, which describes them in one place only.
    let show = |option: clap::Arg| option.hide(false);
    let mut command = context.command_line().mut_arg("log", show).mut_arg("log_format", show);
    let mut script = Vec::new();
    generate(arguments.shell, &mut command, context.program.as_str(), &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if arguments.shell == Shell::Bash {
        // clap_complete mangles a program's name with a hyphen in two ways, and then compares both.
        script =
            script.replace(&context.program.replace('-', "__subcmd__"), &context.program.replace('-', "__"));
    }
    context.output.text(&script)?;
    Ok(Exit::Success)
}
