//! Models to begin with.

/// A model to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// How it is asked for.
    pub slug: &'static str,
    /// What people choose by.
    pub name: &'static str,
    /// For whom it is.
    pub description: &'static str,
    /// The model.
    pub json: &'static str,
}

/// All of them, in the order in which they are offered.
pub const TEMPLATES: &[Template] = &[
    Template {
        slug: "starter-b2b",
        name: "Starter B2B",
        description: "Engagement that decays, fit by what is known of the person, three stages.",
        json: include_str!("templates/starter-b2b.json"),
    },
    Template {
        slug: "braze-canvas-points",
        name: "Braze Canvas points",
        description: "The points of Braze's lead scoring Canvas: +1, +5, +10, -1, -10, and everyone else loses one.",
        json: include_str!("templates/braze-canvas-points.json"),
    },
    Template {
        slug: "empty",
        name: "Empty",
        description: "One score without rules, one stage.",
        json: include_str!("templates/empty.json"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::Model;

    #[test]
    fn every_template_is_a_model() {
        for template in TEMPLATES {
            let errors = Model::parse(template.json).err();
            assert_eq!(errors, None, "{}", template.slug);
        }
    }
}
