//! An IAM policy: actions, and the resources that they are for.

use std::collections::{BTreeMap, BTreeSet};

/// Actions, each with the resources that it is for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Policy {
    actions: BTreeMap<String, BTreeSet<String>>,
    /// Calls whose service or operation is not known before they run: the place of each, and its words.
    pub unknown: Vec<String>,
}

impl Policy {
    pub(crate) fn allow(&mut self, action: &str, resource: impl Into<String>) {
        let resources = self.actions.entry(action.to_owned()).or_default();
        resources.insert(resource.into());
    }

    #[cfg(test)]
    pub(crate) fn actions(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.actions
    }

    /// Actions that are for the same resources, with these.
    pub fn statements(&self) -> Vec<(Vec<&str>, Vec<&str>)> {
        let mut statements: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
        for (action, resources) in &self.actions {
            // All resources are more than some.
            let resources = if resources.contains("*") {
                vec!["*"]
            } else {
                resources.iter().map(String::as_str).collect()
            };
            statements.entry(resources).or_default().push(action);
        }
        let turn = |(resources, actions)| (actions, resources);
        statements.into_iter().map(turn).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_for_the_same_resources_are_one_statement() {
        let mut policy = Policy::default();
        policy.allow("b:X", "r");
        policy.allow("a:Y", "r");
        policy.allow("c:Z", "s");
        policy.allow("c:Z", "*");
        assert_eq!(
            policy.statements(),
            [(vec!["c:Z"], vec!["*"]), (vec!["a:Y", "b:X"], vec!["r"])]
        );
    }
}
