//! `man`: manual pages, made of the help.

use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use roff::{Roff, roman};

use crate::arguments::ManArguments;
use crate::commands::CommandContext;
use crate::error_code::ErrorCode;
use crate::exit_code::{CommandError, CommandResult, Exit};
use crate::help::is_heading;

/// Writes a page for each command into a directory, or prints the main page.
pub(crate) fn run(context: &mut CommandContext, arguments: &ManArguments) -> CommandResult {
    let program = context.program.clone();
    let mut command = context.command_line().display_name(&program).disable_help_subcommand(true);
    command.build();
    let Some(directory) = &arguments.directory else {
        context.output.text(&page(&command, &program)?)?;
        return Ok(Exit::Success);
    };
    let written = std::fs::create_dir_all(directory).and_then(|()| write_all(&command, &program, directory));
    written.map_err(|error| {
        let message = format!("cannot write the pages into {}: {error}", directory.display());
        CommandError::usage(ErrorCode::OutputFailed, message)
    })?;
    Ok(Exit::Success)
}

fn write_all(command: &Command, program: &str, directory: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands() {
        write_all(subcommand, program, directory)?;
    }
    let file = Man::new(command.clone()).get_filename();
    std::fs::write(directory.join(file), page(command, program)?)
}

/// The page of a command, in roff.
fn page(command: &Command, program: &str) -> io::Result<String> {
    let source = format!("{program} {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source).manual("BitTorrent tracker storage");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    sections(&help).to_writer(&mut page)?;
    if command.get_name() != program && command.get_display_name() != Some(program) {
        let mut also = Roff::new();
        also.control("SH", ["SEE ALSO"]).text([roman(format!("{program}(1)"))]);
        also.to_writer(&mut page)?;
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// The sections of a help text: prose is filled, examples and tables keep their lines.
fn sections(help: &str) -> Roff {
    let mut roff = Roff::new();
    let mut keeps_lines = false;
    let mut end_lines = |roff: &mut Roff, keep: bool| {
        if keep != keeps_lines {
            roff.control(if keep { "EX" } else { "EE" }, []);
            keeps_lines = keep;
        }
    };
    let mut is_of_examples = false;
    for line in help.lines() {
        if is_heading(line) {
            end_lines(&mut roff, false);
            is_of_examples = line == "Examples:";
            let heading = line.trim_end_matches(':').to_uppercase();
            roff.control("SH", [heading.as_str()]);
        } else if !line.trim().is_empty() {
            let is_table = line.starts_with("    ") || line.trim_start().contains("   ");
            end_lines(&mut roff, is_of_examples || is_table);
            roff.text([roman(line.trim_start())]);
        }
    }
    end_lines(&mut roff, false);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_filled_and_examples_keep_their_lines() {
        let help = "Output:\n  One line per case.\n      N passed\n\nExamples:\n  a b\n  a c";
        let lines = sections(help).to_roff();
        let expected =
            ".SH OUTPUT\nOne line per case.\n.EX\nN passed\n.EE\n.SH EXAMPLES\n.EX\na b\na c\n.EE\n";
        assert_eq!(lines, expected);
    }
}
