//! How much is read, and what was left out because of it.

/// Bounds on documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one text.
    pub bytes: usize,
    /// Documents in one text.
    pub documents: usize,
    /// Values in one document, those that aliases repeat included.
    pub nodes: usize,
    /// How deep lists and mappings nest.
    pub depth: usize,
    /// Anchors, and aliases to them, in one document.
    pub aliases: usize,
    /// Resources in all.
    pub resources: usize,
    /// Problems that are kept.
    pub problems: usize,
    /// Rules that all resources give.
    pub rules: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 4 << 20,
            documents: 2_000,
            nodes: 100_000,
            depth: 32,
            aliases: 1_000,
            resources: 20_000,
            problems: 1_000,
            rules: 100_000,
        }
    }
}

/// What was read, and what each bound cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Resources that say something about expectations.
    pub resources: u64,
    /// Resources of kinds that say nothing about them.
    pub resources_ignored: u64,
    /// Texts left out because they are longer than [`Limits::bytes`].
    pub texts_too_long: u64,
    /// Documents left out because of [`Limits::documents`]: the first of them counts for all of its text.
    pub documents_over_limit: u64,
    /// Documents left out because of [`Limits::nodes`], [`Limits::depth`] or [`Limits::aliases`].
    pub documents_too_large: u64,
    /// Resources left out because of [`Limits::resources`].
    pub resources_over_limit: u64,
    /// Problems that were not kept because of [`Limits::problems`].
    pub problems_over_limit: u64,
    /// Rules left out because of [`Limits::rules`].
    pub rules_over_limit: u64,
}

impl Counters {
    /// Every counter by its name.
    pub fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("policy_resources", self.resources),
            ("policy_resources_ignored", self.resources_ignored),
            ("policy_texts_too_long", self.texts_too_long),
            ("policy_documents_over_limit", self.documents_over_limit),
            ("policy_documents_too_large", self.documents_too_large),
            ("policy_resources_over_limit", self.resources_over_limit),
            ("policy_problems_over_limit", self.problems_over_limit),
            ("policy_rules_over_limit", self.rules_over_limit),
        ]
    }
}
