//! Which program the marble becomes, and with what arguments (spec/04, "Premain").

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use marblerun_attestation::issue::Environment;
use marblerun_wire::marble::Parameters;
use zeroize::Zeroizing;

use super::apply::below;

/// Why it is not clear what to start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// An option `marble-run` does not have.
    #[error("unknown option {found:?}: expected marble-run [--] program args…")]
    UnknownOption {
        /// The option.
        found: OsString,
    },
    /// Neither manifest nor command line names a program.
    #[error("no program to start: expected `Argv` in the manifest, or marble-run [--] program args…")]
    NoProgram,
    /// `Argv` has an argument no process can be given.
    #[error("argument {index} in `Argv` of the manifest: expected {expected}")]
    Argument {
        /// Position, from 0.
        index: usize,
        /// What it may be.
        expected: &'static str,
    },
    /// Occlum starts nothing that is not in its file system.
    #[error("program {program:?} does not exist: expected a file in the file system of Occlum")]
    ProgramMissing {
        /// `Argv[0]`, which is public as it is in the manifest.
        program: OsString,
    },
}

/// How the premain itself was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Invocation {
    /// `marble-run [--] program args…`; may be empty.
    Command(Vec<OsString>),
    /// As entrypoint of a Gramine manifest: its own `argv[0]` names the program. Own `argv` in full, never empty.
    GramineEntrypoint(OsString, Vec<OsString>),
    /// As entrypoint of Occlum: the program is in the manifest, or behind the entrypoint's name; may be empty.
    Occlum(Vec<OsString>),
}

impl Invocation {
    /// From the process's own command line, and the file it was started from.
    pub(super) fn read(
        environment: Environment,
        arguments: &[OsString],
        executable: Option<&Path>,
    ) -> Result<Self, CommandError> {
        let (own_name, rest) = arguments
            .split_first()
            .map_or((OsStr::new(""), &[][..]), |(own, rest)| (own, rest));
        if environment == Environment::Gramine && !own_name.is_empty() && !names_premain(own_name, executable)
        {
            return Ok(Self::GramineEntrypoint(own_name.to_owned(), arguments.to_vec()));
        }
        let command = match rest.split_first() {
            Some((first, rest)) if first == "--" => rest,
            Some((first, _)) if first.as_bytes().starts_with(b"-") => {
                return Err(CommandError::UnknownOption { found: first.clone() });
            }
            _ => rest,
        };
        Ok(match environment {
            Environment::Occlum => Self::Occlum(command.to_vec()),
            _ => Self::Command(command.to_vec()),
        })
    }
}

impl Invocation {
    /// The file of the program the command line names, if it names one; a name without slash is looked up in `PATH`.
    pub(super) fn program(&self, variables: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
        let (Self::Command(command) | Self::Occlum(command) | Self::GramineEntrypoint(_, command)) = self;
        let program = Path::new(command.first()?);
        if program.components().count() > 1 {
            return Some(program.to_owned());
        }
        std::env::split_paths(variables.get(OsStr::new("PATH"))?)
            .map(|directory| directory.join(program))
            .find(|path| path.is_file())
    }
}

/// Whether `argv[0]` names the premain itself: executing it would start the premain over and over.
fn names_premain(own_name: &OsStr, executable: Option<&Path>) -> bool {
    let name = Path::new(own_name).file_name();
    name == Some(OsStr::new("marble-run"))
        || executable.is_some_and(|executable| executable.file_name() == name)
}

/// What the marble becomes.
pub struct Application {
    program: OsString,
    /// `argv`, at least one.
    arguments: Vec<Zeroizing<Vec<u8>>>,
    /// Set in addition to what is inherited, and winning over it.
    variables: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl Application {
    /// The program: a path, or a name to be looked up in `PATH`.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// `argv`, the first is `argv[0]`. The values may be secret.
    pub fn arguments(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.arguments.iter().map(|argument| argument.as_slice())
    }

    /// Environment variables that are set in addition to those inherited. The values are secret.
    pub fn variables(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Step 9: the program takes the place of this process. Returns only if that fails.
    pub fn execute(self) -> ExecuteError {
        tracing::info!(program = %self.program.display(), "starting the application");
        let mut command = Command::new(&self.program);
        let mut arguments = self.arguments.iter().map(|argument| OsStr::from_bytes(argument));
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.args(arguments);
        command.envs(
            self.variables
                .iter()
                .map(|(name, value)| (name, OsStr::from_bytes(value))),
        );
        // The kernel gives up the old memory, and what is in it, when the new program is in place.
        let source = command.exec();
        ExecuteError {
            program: self.program,
            source,
        }
    }
}

/// The program cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {}: {source}", program.display())]
pub struct ExecuteError {
    /// Which.
    pub program: OsString,
    /// Why not; `E2BIG` when arguments and environment are too large together.
    pub source: io::Error,
}

impl ExecuteError {
    /// Exit status as of a shell: 127 not found, 126 found but not to be executed.
    pub fn exit_status(&self) -> u8 {
        if self.source.kind() == io::ErrorKind::NotFound {
            127
        } else {
            126
        }
    }
}

/// Program and arguments by the rules of the environment; takes `Argv` and `Env` out of the parameters.
pub(super) fn application(
    invocation: &Invocation,
    root: &Path,
    parameters: &mut Parameters,
) -> Result<Application, CommandError> {
    let manifest = manifest_arguments(parameters)?;
    let (program, arguments) = match invocation {
        Invocation::GramineEntrypoint(program, own) => {
            (program.clone(), manifest.unwrap_or_else(|| owned(own)))
        }
        Invocation::Command(command) => {
            let arguments = manifest.unwrap_or_else(|| owned(command));
            (program_of(&arguments)?, arguments)
        }
        Invocation::Occlum(command) => {
            let mut arguments = manifest.unwrap_or_else(|| owned(command));
            let program = program_of(&arguments)?;
            if !below(root, &program).exists() {
                return Err(CommandError::ProgramMissing { program });
            }
            if let (Some(first), Some(name)) = (arguments.first_mut(), Path::new(&program).file_name()) {
                *first = Zeroizing::new(name.as_bytes().to_vec());
            }
            (program, arguments)
        }
    };
    let variables = std::mem::take(&mut parameters.env)
        .into_iter()
        .map(|(name, value)| (name, Zeroizing::new(value)))
        .collect();
    Ok(Application {
        program,
        arguments,
        variables,
    })
}

/// `Argv` of the manifest; `None` when there is none.
fn manifest_arguments(parameters: &mut Parameters) -> Result<Option<Vec<Zeroizing<Vec<u8>>>>, CommandError> {
    let arguments: Vec<_> = std::mem::take(&mut parameters.argv)
        .into_iter()
        .map(|argument| Zeroizing::new(argument.into_bytes()))
        .collect();
    if let Some(index) = arguments.iter().position(|argument| argument.contains(&0)) {
        return Err(CommandError::Argument {
            index,
            expected: "no NUL bytes",
        });
    }
    match arguments.first() {
        None => Ok(None),
        Some(first) if first.is_empty() => Err(CommandError::Argument {
            index: 0,
            expected: "the name of a program",
        }),
        Some(_) => Ok(Some(arguments)),
    }
}

fn program_of(arguments: &[Zeroizing<Vec<u8>>]) -> Result<OsString, CommandError> {
    match arguments.first() {
        Some(first) if !first.is_empty() => Ok(OsString::from_vec(first.to_vec())),
        _ => Err(CommandError::NoProgram),
    }
}

fn owned(arguments: &[OsString]) -> Vec<Zeroizing<Vec<u8>>> {
    arguments
        .iter()
        .map(|argument| Zeroizing::new(argument.as_bytes().to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(arguments: &[&str]) -> Vec<OsString> {
        arguments.iter().map(OsString::from).collect()
    }

    fn read(environment: Environment, arguments: &[&str]) -> Result<Invocation, CommandError> {
        Invocation::read(environment, &os(arguments), Some(Path::new("/usr/bin/premain")))
    }

    /// Program and arguments, in one line.
    fn plan(
        environment: Environment,
        own: &[&str],
        manifest: &[&str],
        root: &Path,
    ) -> Result<String, CommandError> {
        let mut parameters = Parameters::default();
        parameters.argv = manifest.iter().map(|argument| (*argument).to_owned()).collect();
        let application = application(&read(environment, own)?, root, &mut parameters)?;
        let arguments: Vec<_> = application
            .arguments()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect();
        Ok(format!(
            "{}: {}",
            application.program().display(),
            arguments.join(" ")
        ))
    }

    const ROOT: &str = "/nonexistent";

    #[test]
    fn marble_run_starts_what_it_is_told_unless_the_manifest_says() {
        for environment in [
            Environment::Plain,
            Environment::ConfidentialVm,
            Environment::Gramine,
        ] {
            let plan = |own: &[&str], manifest: &[&str]| plan(environment, own, manifest, Path::new(ROOT));
            let expected = Ok("app: app -x".to_owned());
            assert_eq!(plan(&["marble-run", "app", "-x"], &[]), expected);
            assert_eq!(plan(&["/bin/marble-run", "--", "app", "-x"], &[]), expected);
            assert_eq!(plan(&["./premain", "app", "-x"], &[]), expected);
            assert_eq!(plan(&["marble-run", "other"], &["app", "-x"]), expected);
            assert_eq!(plan(&["marble-run"], &["app", "-x"]), expected);
            assert_eq!(plan(&["marble-run", "--", "--"], &[]), Ok("--: --".to_owned()));
            for own in [&["marble-run"][..], &["marble-run", "--"], &["marble-run", ""]] {
                assert_eq!(plan(own, &[]), Err(CommandError::NoProgram));
            }
            assert_eq!(
                plan(&["marble-run", "-x", "app"], &["app"]),
                Err(CommandError::UnknownOption { found: "-x".into() })
            );
        }
        assert_eq!(
            plan(Environment::Plain, &[], &["app"], Path::new(ROOT)),
            Ok("app: app".to_owned())
        );
    }

    #[test]
    fn as_gramine_entrypoint_the_own_name_is_the_program() {
        let plan =
            |own: &[&str], manifest: &[&str]| plan(Environment::Gramine, own, manifest, Path::new(ROOT));
        assert_eq!(
            plan(&["/app/server", "-v"], &["server", "-x"]),
            Ok("/app/server: server -x".to_owned())
        );
        assert_eq!(
            plan(&["/app/server", "-v"], &[]),
            Ok("/app/server: /app/server -v".to_owned())
        );
    }

    #[test]
    fn occlum_takes_the_manifest_and_passes_the_base_name() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("bin")).unwrap();
        std::fs::write(root.path().join("bin/app"), "").unwrap();
        let plan = |own: &[&str], manifest: &[&str]| plan(Environment::Occlum, own, manifest, root.path());
        assert_eq!(
            plan(&["/bin/premain"], &["/bin/app", "-x"]),
            Ok("/bin/app: app -x".to_owned())
        );
        assert_eq!(
            plan(&["/bin/premain", "/bin/app", "-y"], &[]),
            Ok("/bin/app: app -y".to_owned())
        );
        assert_eq!(plan(&["/bin/premain"], &[]), Err(CommandError::NoProgram));
        assert_eq!(
            plan(&["/bin/premain"], &["/bin/other"]),
            Err(CommandError::ProgramMissing {
                program: "/bin/other".into()
            })
        );
    }

    #[test]
    fn arguments_no_process_can_be_given_are_refused_by_position() {
        let plan = |manifest: &[&str]| {
            plan(
                Environment::Plain,
                &["marble-run", "app"],
                manifest,
                Path::new(ROOT),
            )
        };
        let refused = plan(&["app", "sec\0ret"]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "argument 1 in `Argv` of the manifest: expected no NUL bytes"
        );
        let refused = plan(&["", "x"]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "argument 0 in `Argv` of the manifest: expected the name of a program"
        );
    }

    #[test]
    fn a_program_that_cannot_be_started_is_named() {
        let run = |program: &str| {
            Application {
                program: program.into(),
                arguments: vec![Zeroizing::new(program.as_bytes().to_vec())],
                variables: BTreeMap::new(),
            }
            .execute()
        };
        let error = run("/nonexistent/program");
        assert!(
            error
                .to_string()
                .starts_with("cannot start /nonexistent/program: "),
            "{error}"
        );
        assert_eq!(error.exit_status(), 127);
        assert_eq!(run("/").exit_status(), 126);
    }
}
