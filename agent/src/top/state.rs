//! What the person chose to see: view, selection, order, filter. Knows neither terminal nor drawing.

use std::fmt;
use std::str::FromStr;

/// The views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Services and who calls them.
    #[default]
    Services,
    /// Certificates by days left.
    Certificates,
    /// Findings that stand.
    Findings,
    /// Connections, newest first.
    Connections,
    /// Rates, sums and losses.
    Rates,
}

impl View {
    /// All of them, in the order of their keys.
    pub const ALL: [View; 5] =
        [View::Services, View::Certificates, View::Findings, View::Connections, View::Rates];

    /// Its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// What it is called.
    pub const fn title(self) -> &'static str {
        match self {
            View::Services => "Services",
            View::Certificates => "Certificates",
            View::Findings => "Findings",
            View::Connections => "Connections",
            View::Rates => "Rates",
        }
    }

    /// The view so many places further.
    fn step(self, by: usize) -> Self {
        Self::ALL.get((self.index() + by) % Self::ALL.len()).copied().unwrap_or_default()
    }
}

/// A key, whatever terminal it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Shift and tab.
    BackTab,
    /// Backspace.
    Backspace,
    /// Control and C.
    Interrupt,
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut chars = text.chars();
        Ok(match (text, chars.next(), chars.next()) {
            ("up", ..) => Key::Up,
            ("down", ..) => Key::Down,
            ("pageup", ..) => Key::PageUp,
            ("pagedown", ..) => Key::PageDown,
            ("home", ..) => Key::Home,
            ("end", ..) => Key::End,
            ("enter", ..) => Key::Enter,
            ("esc", ..) => Key::Esc,
            ("tab", ..) => Key::Tab,
            ("backspace", ..) => Key::Backspace,
            (_, Some(c), None) => Key::Char(c),
            _ => {
                let names = "up, down, pageup, pagedown, home, end, enter, esc, tab, backspace";
                return Err(format!("expected a character or one of {names}"));
            }
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Char(c) => write!(f, "{c}"),
            other => f.write_str(&format!("{other:?}").to_lowercase()),
        }
    }
}

/// Where one is in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// What is selected, by its name; the first row where nothing is.
    pub selected: Option<String>,
    /// Its row when it was last there: when it goes away, the one that took its place is selected.
    pub row: usize,
    /// The first row on the screen.
    pub offset: usize,
    /// The column that rows are sorted by.
    pub sort: usize,
    /// The other way round.
    pub reverse: bool,
}

impl List {
    /// Makes selection and offset fit the rows there are (by their names) and the height of the screen.
    pub fn settle(&mut self, names: &[String], height: usize) {
        let found = self.selected.as_ref().and_then(|name| names.iter().position(|n| n == name));
        self.row = found.unwrap_or(self.row).min(names.len().saturating_sub(1));
        self.selected = if self.selected.is_some() { names.get(self.row).cloned() } else { None };
        if self.selected.is_none() && found.is_none() && self.row > 0 && names.is_empty() {
            self.row = 0;
        }
        let height = height.max(1);
        self.offset = self.offset.min(names.len().saturating_sub(height));
        if self.row < self.offset {
            self.offset = self.row;
        } else if self.row >= self.offset + height {
            self.offset = self.row + 1 - height;
        }
    }

    /// Moves the selection to a row.
    fn select(&mut self, row: usize, names: &[String]) {
        self.row = row.min(names.len().saturating_sub(1));
        // The first row is whatever comes first.
        self.selected = if self.row == 0 { None } else { names.get(self.row).cloned() };
    }
}

/// Details of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Its name in the list.
    pub name: String,
    /// Lines scrolled away.
    pub scroll: usize,
}

/// What was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The view.
    pub view: View,
    /// Of each view.
    pub lists: [List; 5],
    /// Details are shown instead of the list.
    pub detail: Option<Detail>,
    /// Only what contains this is listed.
    pub filter: String,
    /// The filter is being typed; what it was before.
    pub typing: Option<String>,
    /// The help page is shown.
    pub help: bool,
    /// Lines of help, or of rates, scrolled away.
    pub scroll: usize,
    /// Nothing moves.
    pub is_paused: bool,
}

/// What a key asks for that the state does not do itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    None,
    /// The end.
    Quit,
    /// Pause began or ended.
    Pause,
}

/// What a key needs to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight<'a> {
    /// Names of the rows of the list, in order.
    pub names: &'a [String],
    /// Rows on the screen.
    pub height: usize,
    /// Lines of the page, where it is one.
    pub lines: usize,
    /// Columns that the list can be sorted by.
    pub sorts: &'a [usize],
}

/// Longest filter.
const MAX_FILTER: usize = 64;

impl State {
    /// The list of the view.
    pub fn list(&self) -> Option<&List> {
        self.lists.get(self.view.index())
    }

    fn list_mut(&mut self) -> Option<&mut List> {
        self.lists.get_mut(self.view.index())
    }

    /// A page of lines is shown, and not a list.
    pub fn is_page(&self) -> bool {
        self.help || self.detail.is_some() || self.view == View::Rates
    }

    /// Takes a key.
    pub fn key(&mut self, key: Key, sight: Sight<'_>) -> Reaction {
        if key == Key::Interrupt {
            return Reaction::Quit;
        }
        if self.typing.is_some() {
            self.type_filter(key);
            return Reaction::None;
        }
        match key {
            Key::Char('q') => return Reaction::Quit,
            Key::Char('p' | ' ') => {
                self.is_paused = !self.is_paused;
                return Reaction::Pause;
            }
            Key::Char('?' | 'h') => (self.help, self.scroll) = (!self.help, 0),
            Key::Esc => self.back(),
            Key::Char(c @ '1'..='5') => {
                self.go(usize::try_from(u32::from(c) - u32::from('1')).unwrap_or_default())
            }
            Key::Tab => self.show(self.view.step(1)),
            Key::BackTab => self.show(self.view.step(View::ALL.len() - 1)),
            Key::Char('/') if !self.is_page() => self.typing = Some(self.filter.clone()),
            Key::Char('s') if !self.is_page() => self.sort(sight.sorts, 1),
            Key::Char('S') if !self.is_page() => {
                self.sort(sight.sorts, sight.sorts.len().saturating_sub(1));
            }
            Key::Char('r') if !self.is_page() => {
                if let Some(list) = self.list_mut() {
                    list.reverse = !list.reverse;
                }
            }
            Key::Char('c') if self.view == View::Services => self.connections_of(),
            Key::Enter if !self.is_page() => self.open(sight.names),
            _ => self.travel(key, sight),
        }
        Reaction::None
    }

    fn back(&mut self) {
        if self.help {
            self.help = false;
        } else if self.detail.is_some() {
            self.detail = None;
        } else {
            self.filter.clear();
        }
    }

    fn go(&mut self, index: usize) {
        if let Some(view) = View::ALL.get(index) {
            self.show(*view);
        }
    }

    fn show(&mut self, view: View) {
        if view != self.view {
            self.filter.clear();
        }
        (self.view, self.detail, self.help, self.scroll) = (view, None, false, 0);
    }

    /// The connections of the service whose details are shown.
    fn connections_of(&mut self) {
        if let Some(detail) = self.detail.take() {
            self.show(View::Connections);
            self.filter = detail.name;
        }
    }

    fn open(&mut self, names: &[String]) {
        let row = self.list().map_or(0, |list| list.row);
        if let Some(name) = names.get(row) {
            self.detail = Some(Detail { name: name.clone(), scroll: 0 });
        }
    }

    fn sort(&mut self, sorts: &[usize], by: usize) {
        let Some(list) = self.list_mut() else { return };
        let now = sorts.iter().position(|column| *column == list.sort).unwrap_or_default();
        if let Some(next) = (now + by).checked_rem(sorts.len()).and_then(|place| sorts.get(place)) {
            (list.sort, list.reverse) = (*next, false);
            // What comes first by the new order is what one wants to see.
            (list.selected, list.row, list.offset) = (None, 0, 0);
        }
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Enter => self.typing = None,
            Key::Esc => self.filter = self.typing.take().unwrap_or_default(),
            Key::Backspace => drop(self.filter.pop()),
            Key::Char(c) if self.filter.chars().count() < MAX_FILTER => self.filter.push(c),
            _ => {}
        }
    }

    fn travel(&mut self, key: Key, sight: Sight<'_>) {
        let page = sight.height.saturating_sub(1).max(1);
        let to = |at: usize, last: usize| match key {
            Key::Up | Key::Char('k') => at.saturating_sub(1),
            Key::Down | Key::Char('j') => at.saturating_add(1).min(last),
            Key::PageUp => at.saturating_sub(page),
            Key::PageDown => at.saturating_add(page).min(last),
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => last,
            _ => at,
        };
        if self.is_page() {
            let last = sight.lines.saturating_sub(sight.height);
            let scroll = match &mut self.detail {
                Some(detail) if !self.help => &mut detail.scroll,
                _ => &mut self.scroll,
            };
            *scroll = to((*scroll).min(last), last);
        } else if let Some(list) = self.list_mut() {
            let row = to(list.row, sight.names.len().saturating_sub(1));
            if row != list.row || matches!(key, Key::Home | Key::Char('g')) {
                list.select(row, sight.names);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|n| format!("row {n}")).collect()
    }

    fn press(state: &mut State, names: &[String], keys: &[Key]) {
        for key in keys {
            state.key(*key, Sight { names, height: 5, lines: 30, sorts: &[0, 2, 3] });
            if let Some(list) = state.lists.get_mut(state.view.index()) {
                list.settle(names, 5);
            }
        }
    }

    fn place(state: &State) -> (usize, usize) {
        let list = state.list().expect("a list");
        (list.row, list.offset)
    }

    #[test]
    fn keys_move_through_a_list_and_stay_in_it() {
        let (mut state, names) = (State::default(), names(12));
        for (key, expected) in [
            (Key::Up, (0, 0)),
            (Key::Down, (1, 0)),
            (Key::Char('j'), (2, 0)),
            (Key::PageDown, (6, 2)),
            (Key::Char('k'), (5, 2)),
            (Key::End, (11, 7)),
            (Key::Down, (11, 7)),
            (Key::PageUp, (7, 7)),
            (Key::Home, (0, 0)),
            (Key::Char('G'), (11, 7)),
            (Key::Char('g'), (0, 0)),
        ] {
            press(&mut state, &names, &[key]);
            assert_eq!(place(&state), expected, "{key}");
        }
    }

    #[test]
    fn the_selection_stays_with_what_is_selected() {
        let (mut state, mut names) = (State::default(), names(5));
        press(&mut state, &names, &[Key::Down, Key::Down]);
        names.insert(0, "new".to_owned());
        state.lists[0].settle(&names, 5);
        assert_eq!(place(&state).0, 3);
        names.remove(3);
        state.lists[0].settle(&names, 5);
        assert_eq!((place(&state).0, state.lists[0].selected.as_deref()), (3, Some("row 3")));
        state.lists[0].settle(&[], 5);
        assert_eq!(place(&state), (0, 0));
    }

    #[test]
    fn the_first_row_is_whatever_comes_first() {
        let (mut state, mut names) = (State::default(), names(5));
        press(&mut state, &names, &[Key::Down, Key::Up]);
        names.insert(0, "new".to_owned());
        state.lists[0].settle(&names, 5);
        assert_eq!(place(&state), (0, 0));
    }

    #[test]
    fn a_filter_is_typed_kept_given_up_and_taken_away() {
        let (mut state, names) = (State::default(), names(3));
        press(&mut state, &names, &[Key::Char('/'), Key::Char('q'), Key::Char('r'), Key::Backspace]);
        assert_eq!((state.filter.as_str(), state.typing.is_some()), ("q", true));
        press(&mut state, &names, &[Key::Enter, Key::Char('/'), Key::Char('x'), Key::Esc]);
        assert_eq!((state.filter.as_str(), state.typing.is_some()), ("q", false));
        press(&mut state, &names, &[Key::Esc]);
        assert_eq!(state.filter, "");
        let many = vec![Key::Char('a'); 200];
        press(&mut state, &names, &[&[Key::Char('/')], many.as_slice()].concat());
        assert_eq!(state.filter.len(), MAX_FILTER);
    }

    #[test]
    fn details_open_scroll_and_close() {
        let (mut state, names) = (State::default(), names(3));
        press(&mut state, &names, &[Key::Down, Key::Enter, Key::Down, Key::PageDown]);
        assert_eq!(state.detail, Some(Detail { name: "row 1".to_owned(), scroll: 5 }));
        press(&mut state, &names, &[Key::End, Key::Down]);
        assert_eq!(state.detail.as_ref().map(|detail| detail.scroll), Some(25));
        press(&mut state, &names, &[Key::Esc]);
        assert_eq!((state.detail.is_none(), place(&state).0), (true, 1));
        press(&mut state, &names, &[Key::Enter, Key::Char('c')]);
        assert_eq!((state.view, state.filter.as_str()), (View::Connections, "row 1"));
    }

    #[test]
    fn views_order_help_pause_and_end_have_their_keys() {
        let (mut state, names) = (State::default(), names(3));
        press(&mut state, &names, &[Key::Char('3')]);
        assert_eq!(state.view, View::Findings);
        press(&mut state, &names, &[Key::Tab, Key::Tab, Key::Tab]);
        assert_eq!(state.view, View::Services);
        press(&mut state, &names, &[Key::BackTab]);
        assert_eq!(state.view, View::Rates);
        press(&mut state, &names, &[Key::Char('1'), Key::Char('s'), Key::Char('r')]);
        assert_eq!((state.lists[0].sort, state.lists[0].reverse), (2, true));
        press(&mut state, &names, &[Key::Char('S')]);
        assert_eq!((state.lists[0].sort, state.lists[0].reverse), (0, false));
        press(&mut state, &names, &[Key::Char('?')]);
        assert!(state.help);
        press(&mut state, &names, &[Key::Esc]);
        assert!(!state.help);
        let nothing = Sight::default();
        assert_eq!(state.key(Key::Char('p'), nothing), Reaction::Pause);
        assert!(state.is_paused);
        assert_eq!(state.key(Key::Char('q'), nothing), Reaction::Quit);
        assert_eq!(State::default().key(Key::Interrupt, nothing), Reaction::Quit);
    }

    #[test]
    fn keys_have_names() {
        for (text, key) in
            [("4", Key::Char('4')), ("enter", Key::Enter), ("pagedown", Key::PageDown), ("/", Key::Char('/'))]
        {
            assert_eq!(text.parse(), Ok(key));
            assert_eq!(key.to_string(), text);
        }
        assert!("return".parse::<Key>().is_err());
    }
}
