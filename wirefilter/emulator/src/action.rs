//! What a line of a timeline or of a table of pairs does: settings one after the other, between
//! semicolons.

use std::sync::Arc;

use crate::field::{Change, Field, FieldError};
use crate::link::Both;
use crate::profile::Profile;
use crate::settings::Settings;
use crate::spread::DelayTable;

/// One step of a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// `loss 5` and the like.
    Change(Change),
    /// `profile lte`: these settings and no others.
    Profile(Profile),
    /// `clear`: no settings at all.
    Clear,
}

/// Why a step cannot be followed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ActionError {
    /// Nothing between two semicolons, or nothing at all.
    #[error("a setting is missing, such as loss 5, profile lte or clear")]
    Missing,
    /// No setting is called so.
    #[error("there is no setting '{0}'")]
    Unknown(String),
    /// No profile is called so.
    #[error("there is no profile '{0}'; there are {known}", known = names())]
    Profile(String),
    /// The value of a setting is wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// `clear` takes nothing.
    #[error("'{0}' means nothing behind clear")]
    Trailing(String),
}

fn names() -> String {
    Profile::ALL.map(Profile::name).join(", ")
}

impl Action {
    /// Reads the steps of a line.
    ///
    /// # Errors
    /// [`ActionError`], for the first that is wrong.
    pub fn parse_all(
        text: &str,
        table: Option<&Arc<DelayTable>>,
    ) -> Result<Vec<Self>, ActionError> {
        text.split(';').map(|step| Self::parse(step.trim(), table)).collect()
    }

    fn parse(step: &str, table: Option<&Arc<DelayTable>>) -> Result<Self, ActionError> {
        let (word, rest) = step.split_once(char::is_whitespace).unwrap_or((step, ""));
        let rest = rest.trim();
        match word {
            "" => Err(ActionError::Missing),
            "clear" if rest.is_empty() => Ok(Self::Clear),
            "clear" => Err(ActionError::Trailing(rest.to_owned())),
            "profile" => Profile::named(rest)
                .map(Self::Profile)
                .ok_or_else(|| ActionError::Profile(rest.to_owned())),
            _ => {
                let field =
                    Field::named(word).ok_or_else(|| ActionError::Unknown(word.to_owned()))?;
                Ok(Self::Change(field.parse(rest, table)?))
            }
        }
    }

    /// The state that it is for, if it names one.
    pub const fn state(&self) -> Option<usize> {
        match self {
            Self::Change(change) => change.target.state,
            Self::Profile(_) | Self::Clear => None,
        }
    }

    /// Changes settings accordingly.
    ///
    /// # Errors
    /// As [`Change::apply`]; then nothing is changed.
    pub fn apply(&self, settings: &mut Both<Settings>) -> Result<(), FieldError> {
        match self {
            Self::Change(change) => change.apply(settings)?,
            Self::Profile(profile) => *settings = profile.settings(),
            Self::Clear => *settings = Both::default(),
        }
        Ok(())
    }
}
