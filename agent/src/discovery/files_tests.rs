use std::io::Write;

use super::*;
use crate::libraries::ProbeKind;

const POINT: ProbePoint = ProbePoint { kind: ProbeKind::OpenSslCertificate, offset: 0x100 };

/// Remembers what it was told to attach; refuses the offset 0xbad.
#[derive(Default)]
struct Recorder {
    attached: Vec<u64>,
    log: Vec<String>,
}

impl Attach for Recorder {
    type Attached = u64;

    fn attach(&mut self, file: &File, points: &[ProbePoint]) -> Result<u64, UprobeError> {
        let inode = Stamp::of(file).expect("fstat").inode;
        if points.iter().any(|p| p.offset == 0xbad) {
            let (kind, cause) = (ProbeKind::OpenSslCertificate, "no such instruction".to_owned());
            self.log.push("refused".to_owned());
            return Err(UprobeError::Refused { kind, offset: 0xbad, cause });
        }
        self.attached.push(inode);
        self.log.push(format!("attached {}", points.len()));
        Ok(inode)
    }

    fn detach(&mut self, inode: u64) {
        self.attached.retain(|i| *i != inode);
        self.log.push("detached".to_owned());
    }

    fn retire(&mut self, inode: u64) {
        self.attached.retain(|i| *i != inode);
        self.log.push("retired".to_owned());
    }
}

/// A file says what it holds.
fn inspect(file: &File, _: &Path) -> Contents {
    use std::os::unix::fs::FileExt;
    let mut first = [0; 4];
    let len = file.read_at(&mut first, 0).expect("readable");
    let points = |offset| vec![(TlsLibrary::OpenSsl, vec![ProbePoint { offset, ..POINT }])];
    match &first[..len] {
        b"tls1" => Contents::Probes(points(0x100)),
        b"tls2" => {
            Contents::Probes(vec![(TlsLibrary::OpenSsl, vec![POINT, ProbePoint { offset: 0x200, ..POINT }])])
        }
        b"bad!" => Contents::Probes(points(0xbad)),
        b"java" => Contents::Unprobed(Unprobed::Java),
        b"huge" => Contents::Unprobed(Unprobed::TooLargeToInspect),
        b"half" => Contents::Unprobed(Unprobed::Unreadable),
        _ => Contents::NoTls,
    }
}

struct Host {
    dir: PathBuf,
    files: Files<Recorder>,
    now: Instant,
    opened: usize,
}

impl Host {
    fn new(options: Options) -> Self {
        static N: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = N.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("tlsight-files-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let counters = Arc::new(Counters::new());
        let files = Files::new(Recorder::default(), inspect, options, counters);
        Self { dir, files, now: Instant::now(), opened: 0 }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        let mut file = File::create(&path).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        path
    }

    fn seen_as(&mut self, pid: u32, path: &Path, key: FileKey, generation: Option<u64>) -> Option<FileKey> {
        let mut opened = 0;
        let open = &mut || {
            opened += 1;
            File::open(path).ok()
        };
        let stamp = &mut || Stamp::of(&File::open(path).ok()?).ok();
        let found = self.files.seen(Sighting { pid, key, generation, path, stamp, open }, self.now);
        self.opened += opened;
        found
    }

    fn seen(&mut self, pid: u32, path: &Path) -> Option<FileKey> {
        let key = resolve::key_of(&File::open(path).expect("there")).expect("fstat");
        self.seen_as(pid, path, key, Some(1))
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.files.release_idle(self.now);
    }

    fn log(&self) -> Vec<&str> {
        self.files.attach.log.iter().map(String::as_str).collect()
    }

    fn count(&self, counter: Counter) -> u64 {
        self.files.publish();
        self.files.counters.get(counter)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn host() -> Host {
    Host::new(Options { max_probed: 2, max_files: 4, ..Options::default() })
}

#[test]
fn a_library_is_inspected_once_and_probed_while_somebody_maps_it() {
    let mut h = host();
    let ssl = h.write("libssl", "tls2");
    for pid in 1..=3 {
        assert!(h.seen(pid, &ssl).is_some());
    }
    assert_eq!((h.log(), h.opened), (vec!["attached 2"], 1));
    assert_eq!((h.count(Counter::FilesProbed), h.count(Counter::PointsAttached)), (1, 2));
    for pid in 1..=3 {
        h.files.tracker.cleared(pid, h.now);
    }
    h.pass(59);
    assert_eq!(h.log().len(), 1);
    h.pass(1);
    assert_eq!(h.log(), ["attached 2", "retired"]);
    assert_eq!((h.count(Counter::FilesProbed), h.count(Counter::PointsAttached)), (0, 0));
    assert_eq!((h.count(Counter::FilesInUse), h.files.identities.len()), (0, 0));
    // Attached again without a second inspection.
    assert!(h.seen(9, &ssl).is_some());
    assert_eq!(h.log(), ["attached 2", "retired", "attached 2"]);
    assert_eq!(h.count(Counter::Inspected), 1);
}

#[test]
fn a_file_without_tls_is_opened_again_only_after_a_while_and_inspected_only_if_it_changed() {
    let mut h = host();
    let libc = h.write("libc", "libc");
    for pid in 1..1000 {
        assert_eq!(h.seen(pid, &libc), None);
    }
    assert_eq!((h.opened, h.count(Counter::Inspected)), (1, 1));
    h.pass(31);
    h.seen(1, &libc);
    h.seen(2, &libc);
    assert_eq!((h.opened, h.count(Counter::Inspected)), (2, 1));
    // At once, not only after a while.
    h.write("libc", "tls1 now");
    assert!(h.seen(3, &libc).is_some());
    assert_eq!((h.opened, h.count(Counter::Inspected), h.log()), (3, 2, vec!["attached 1"]));
}

#[test]
fn a_file_rewritten_in_place_loses_its_probes_at_once_and_is_inspected_again() {
    let mut h = host();
    let ssl = h.write("libssl", "tls1");
    h.seen(1, &ssl);
    h.write("libssl", "tls2 rewritten");
    h.seen(2, &ssl);
    assert_eq!(h.log(), ["attached 1", "detached", "attached 2"]);
    assert_eq!((h.count(Counter::Changed), h.count(Counter::PointsAttached)), (1, 2));
    // Without anybody mapping it anew it is found by looking after it; it holds nothing now.
    h.write("libssl", "plain text");
    h.files.look_after(h.now);
    assert_eq!(h.log().last(), Some(&"detached"));
    assert_eq!((h.count(Counter::FilesInUse), h.count(Counter::Processes)), (0, 0));
}

#[test]
fn a_replaced_file_is_another_file() {
    let mut h = host();
    let ssl = h.write("libssl", "tls1");
    let old = h.seen(1, &ssl);
    let new = h.write("libssl.new", "tls2");
    std::fs::rename(new, &ssl).expect("renamed");
    let new = h.seen(2, &ssl);
    assert_ne!(old, new);
    assert_eq!(h.log(), ["attached 1", "attached 2"]);
    h.files.tracker.cleared(1, h.now);
    h.pass(60);
    assert_eq!(h.log(), ["attached 1", "attached 2", "retired"]);
    assert_eq!(h.count(Counter::FilesProbed), 1);
}

#[test]
fn an_inode_number_given_to_another_file_is_told_by_its_generation() {
    let mut h = host();
    let (ssl, other) = (h.write("libssl", "tls1"), h.write("libother", "libc"));
    let key = h.seen(1, &ssl).expect("a library");
    assert_eq!(h.seen_as(2, &other, key, Some(2)), None);
    assert_eq!((h.log(), h.files.tracker.files_of(1).len()), (vec!["attached 1", "retired"], 0));
}

#[test]
fn a_mapping_from_procfs_has_no_generation_and_matches_any() {
    let mut h = host();
    let ssl = h.write("libssl", "tls1");
    let key = resolve::key_of(&File::open(&ssl).expect("there")).expect("fstat");
    h.seen_as(1, &ssl, key, None);
    h.seen_as(2, &ssl, key, Some(5));
    h.seen_as(3, &ssl, key, None);
    assert_eq!((h.log(), h.files.tracker.users(key)), (vec!["attached 1"], 3));
    h.seen_as(4, &ssl, key, Some(6));
    assert_eq!(h.log(), ["attached 1", "retired", "attached 1"]);
}

#[test]
fn files_beyond_the_bound_wait_for_room() {
    let mut h = host();
    for (pid, name) in [(1, "a"), (2, "b"), (3, "c")] {
        let path = h.write(name, "tls1");
        h.seen(pid, &path);
    }
    assert_eq!((h.log().len(), h.count(Counter::ProbedOverBound)), (2, 1));
    let waiting: Vec<_> = h.files.status().into_iter().filter_map(|f| f.not_attached).collect();
    assert_eq!(waiting, [NotAttached::LimitReached]);
    h.files.tracker.cleared(1, h.now);
    h.pass(60);
    h.files.look_after(h.now);
    assert_eq!(h.log(), ["attached 1", "attached 1", "retired", "attached 1"]);
    assert_eq!(h.count(Counter::FilesProbed), 2);
}

#[test]
fn files_in_use_are_bounded() {
    let mut h = host();
    for n in 0..6 {
        let path = h.write(&format!("jvm{n}"), "java");
        h.seen(n, &path);
    }
    assert_eq!((h.count(Counter::FilesInUse), h.count(Counter::FilesOverBound)), (4, 2));
}

#[test]
fn a_refused_file_is_not_tried_again_while_it_is_in_use() {
    let mut h = host();
    let path = h.write("odd", "bad!");
    for pid in 1..=5 {
        h.seen(pid, &path);
    }
    h.files.look_after(h.now);
    assert_eq!((h.log(), h.count(Counter::AttachRefused)), (vec!["refused"], 1));
    let status = h.files.status();
    assert!(
        matches!(&status[0].not_attached, Some(NotAttached::Refused(why)) if why.contains("no such instruction"))
    );
}

#[test]
fn what_cannot_be_probed_is_counted_by_file_and_reason() {
    let mut h = host();
    let java = h.write("libjvm", "java");
    for pid in 1..=3 {
        h.seen(pid, &java);
    }
    let half = h.write("half", "half");
    assert_eq!(h.seen(4, &half), None);
    let huge = h.write("huge", "huge");
    assert_eq!((h.seen(5, &huge), h.count(Counter::TooLarge)), (None, 1));
    let key = |path: &Path| resolve::key_of(&File::open(path).expect("a file")).expect("its key");
    assert_eq!([&huge, &half, &java].map(|path| h.files.is_too_large(key(path))), [true, false, false]);
    // It is not read again for each process.
    assert_eq!((h.seen(6, &huge), h.count(Counter::TooLarge)), (None, 1));
    assert!(h.files.is_too_large(key(&huge)));
    let named = h.files.counters.named();
    assert_eq!(named.last(), Some(&("probe.unprobed.java".to_owned(), 1)));
    assert_eq!((h.count(Counter::Unreadable), h.files.covered()), (1, 0));
    assert_eq!(h.files.status()[0].processes, 3);
}

#[test]
fn a_process_that_is_gone_before_its_file_was_opened_is_counted() {
    let mut h = host();
    let key = FileKey { major: 1, minor: 2, inode: 3 };
    assert_eq!(h.seen_as(1, Path::new("/no/such/file"), key, Some(1)), None);
    assert_eq!((h.count(Counter::Unopenable), h.count(Counter::Processes)), (1, 0));
}

#[test]
fn files_beyond_what_one_process_may_have_are_not_probed_and_leave_nothing() {
    let mut h = Host::new(Options::default());
    let most = super::super::tracker::MAX_FILES_PER_PROCESS;
    for n in 0..most + 10 {
        let path = h.write(&format!("lib{n}"), "tls1");
        assert_eq!(h.seen(1, &path).is_some(), n < most, "{n}");
    }
    assert_eq!((h.log().len(), h.count(Counter::FilesInUse)), (most, most as u64));
    assert_eq!((h.count(Counter::FullProcesses), h.count(Counter::ProcessesOverBound)), (1, 0));
    // Another process has room for what this one has not.
    let last = h.write(&format!("lib{}", most + 9), "tls1");
    assert!(h.seen(2, &last).is_some());
    h.files.tracker.cleared(1, h.now);
    h.files.tracker.cleared(2, h.now);
    h.pass(60);
    let left = (h.files.attach.attached.len(), h.files.in_use.len(), h.files.identities.len());
    assert_eq!((left, h.count(Counter::Processes)), ((0, 0, 0), 0));
}
