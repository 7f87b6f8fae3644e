//! The rules in force: those of the configuration, and those of the ACL file that it names.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quelea_acl::{OwnRules, Rule, Rules, mosquitto};

use crate::config::{Config, IdentityRules};

/// Why there are no rules to go by.
#[derive(Debug)]
pub struct AccessError {
    /// The file, or the configuration if there is none to blame.
    pub file: PathBuf,
    /// What is wrong: a line for each mistake.
    pub why: String,
}

/// Reads the rules that `config` has or names. When it says nothing of rules everybody may do all.
///
/// # Errors
///
/// The file cannot be read, or has mistakes: all of them.
pub fn read_rules(config: &Config) -> Result<Arc<Rules>, AccessError> {
    let own = config.acl.iter().map(|rule| rule.to_rule());
    let mut rules = own.collect::<Result<Vec<Rule>, _>>().map_err(|why| {
        let file = PathBuf::from("configuration");
        AccessError { file, why }
    })?;
    if let Some(file) = &config.acl_file {
        rules.extend(read_file(file)?);
    }
    let filter_on_delivery = config.filter_on_delivery.unwrap_or(config.acl_file.is_some());
    let own_rules = match config.identity_rules {
        IdentityRules::Before => OwnRules::Before,
        IdentityRules::After => OwnRules::After,
    };
    let is_open = config.acl.is_empty() && config.acl_file.is_none();
    Ok(Arc::new(Rules { rules, filter_on_delivery, own_rules, is_open }))
}

fn read_file(file: &Path) -> Result<Vec<Rule>, AccessError> {
    let name = file.display();
    let error = |why: String| AccessError { file: file.to_owned(), why };
    let size = fs::metadata(file).map_err(|it| error(format!("{name}: {it}")))?.len();
    if size > FILE_BYTES_MAX {
        return Err(error(format!("{name}: it has more than {FILE_BYTES_MAX} bytes")));
    }
    let text = fs::read_to_string(file).map_err(|it| error(format!("{name}: {it}")))?;
    mosquitto::read(&name.to_string(), &text).map_err(|mistakes| {
        let lines = mistakes.iter().map(|it| format!("{name}:{}: {}", it.line, it.message));
        error(lines.collect::<Vec<_>>().join("\n"))
    })
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for AccessError {}

/// A larger file is no ACL: whoever named it meant another.
const FILE_BYTES_MAX: u64 = 64 << 20;
