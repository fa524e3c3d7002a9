// Finds what belongs into an archive: the configuration with the lists, zones and passwords that it names, the private
// keys, Postfix's files where they are wanted, and each daemon's state. Where something is missing the others are taken
// all the same, and it is told: a backup without one list is better than none.
//
// Left out: what packages bring (below /usr), such as the public suffix list; and what a shared store holds.

internal import Glibc
internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail

struct BackupCollection {
    private(set) var sources: [BackupSource] = []
    /// For standard error.
    private(set) var notes: [String] = []
    /// What should be in the archive and is not.
    private(set) var missing: [String] = []

    /// Of what was found so far.
    var octets: Int { sources.reduce(0) { $0 + $1.entry.size } }

    private var names = AccountNames()
    private var taken: Set<String> = []

    /// Most files that main.cf and master.cf name and that are looked at.
    private static let maxPostfixFiles = 1000

    // MARK: Configuration and keys

    /// - Parameter path: of the configuration, plain.
    mutating func addConfiguration(_ path: String, _ result: LoadResult) throws(CommandFailure) {
        guard let configuration = result.readable else {
            throw CommandFailure(
                .badConfiguration,
                "expected a configuration that can be read in \(path), found none: what belongs to it is not known")
        }
        guard try add(path, kind: .config) else { throw CommandFailure(FileFailure.last("read \(path)")) }
        let store = [configuration.store.passwordPath, configuration.store.authoritiesPath].compactMap(\.self)
        for file in result.namedFiles + store where !file.hasPrefix("/usr/") {
            try addNamed(file, kind: .config)
        }
        for entry in configuration.dkim.entries { try addNamed(entry.file, kind: .keys) }
        if result.problems.contains(where: { $0.severity == .error }) {
            notes.append("warning: \(path) has problems; `postern check` tells them")
        }
    }

    private mutating func addNamed(_ path: String, kind: BackupManifest.Kind) throws(CommandFailure) {
        if try !add(path, kind: kind) {
            notes.append("warning: \(LogText.escaped(path.utf8)), which the configuration names, is not there")
        }
    }

    // MARK: Postfix

    /// main.cf, master.cf, and the tables that they name.
    mutating func addPostfix(_ folder: String) throws(CommandFailure) {
        var tables: [String] = []
        for name in ["main.cf", "master.cf"] {
            let path = Files.path(name, below: folder)
            guard try add(path, kind: .postfix) else {
                notes.append("warning: expected Postfix's \(path), found none")
                missing.append(path)
                continue
            }
            guard let source = sources.last, case .octets(let octets) = source.content else { continue }
            tables += Self.tables(in: octets, folder: folder)
        }
        for path in tables.prefix(Self.maxPostfixFiles) where !path.hasPrefix("/usr/") {
            // What a parameter names may be a socket or a folder, or be made later: only what is there is taken.
            _ = try add(path, kind: .postfix, isOptional: true)
        }
    }

    /// Paths in `type:/path`, in the order in which they stand; `$config_directory` is the folder's.
    /// Source: postconf(5), DATABASE_README.
    static func tables(in octets: [UInt8], folder: String) -> [String] {
        let others: Set = ["unix", "inet", "local", "socketmap", "tcp", "static", "inline", "lmtp", "smtp", "fifo"]
        var found: [String] = []
        for line in octets.split(separator: 0x0A) where line.first != 0x23 {
            var text = String(decoding: line, as: UTF8.self)
            for form in ["$config_directory", "${config_directory}", "$(config_directory)"] {
                text = text.replacing(form, with: folder)
            }
            let words = text.split { " \t\r,{}=".contains($0) }
            for word in words {
                let parts = word.split(separator: ":", omittingEmptySubsequences: false)
                guard let path = parts.last, parts.count >= 2, path.hasPrefix("/"),
                    let type = parts.dropLast().last, !others.contains(String(type)), !found.contains(String(path))
                else { continue }
                found.append(String(path))
            }
        }
        return found
    }

    // MARK: State

    mutating func addState(_ taking: StateTaking) throws(CommandFailure) {
        for state in BackupManifest.State.allCases {
            switch try taking.take(state) {
            case .nothing: break
            case .failed(let text):
                notes.append("error: \(state.daemon.rawValue): \(text); its state is not in the archive")
                missing.append(state.fileName)
            case .taken(let file, let octets, let original):
                let head = try file.read(at: 0, atMost: min(StateHeader.octets, octets))
                var entry = self.entry(
                    Files.path(state.fileName, below: taking.folder), .state, original, octets: octets)
                entry.state = state
                entry.schema = StateHeader.schema(of: state, in: head)
                try append(entry, .file(file, octets: octets))
            }
        }
    }

    // MARK: Files

    /// Takes a file that is small enough to be held.
    /// - Returns: false where none is.
    private mutating func add(
        _ path: String, kind: BackupManifest.Kind, isOptional: Bool = false
    ) throws(CommandFailure) -> Bool {
        guard let plain = Self.plain(path) else {
            throw CommandFailure(
                .badConfiguration,
                "\(LogText.escaped(path.utf8)): expected a path that an archive can hold, found another")
        }
        guard taken.insert(plain).inserted else { return true }
        do throws(CommandFailure) {
            guard let file = try OpenFile.open(plain, follows: true) else { return false }
            guard file.isPlain else {
                if isOptional { return false }
                throw CommandFailure(.unavailable, "\(plain): expected a plain file, found another kind")
            }
            guard file.octets <= kind.maxOctets else {
                throw CommandFailure(FileFailure.tooLarge(name: plain, cap: kind.maxOctets))
            }
            var octets: [UInt8] = []
            while octets.count <= kind.maxOctets {
                let piece = try file.read(at: octets.count, atMost: 1 << 16)
                if piece.isEmpty { break }
                octets += piece
            }
            try append(entry(plain, kind, file.status, octets: octets.count), .octets(octets))
            return true
        } catch {
            guard isOptional else { throw error }
            notes.append("warning: \(error.text)")
            return false
        }
    }

    private mutating func entry(
        _ path: String, _ kind: BackupManifest.Kind, _ status: stat, octets: Int
    ) -> BackupManifest.Entry {
        BackupManifest.Entry(
            kind: kind, original: path, owner: names.owner(status.st_uid), group: names.group(status.st_gid),
            mode: UInt32(status.st_mode & 0o777), size: octets, sha256: [],
            modified: UnixTime(seconds: Int64(status.st_mtim.tv_sec)) + .nanoseconds(status.st_mtim.tv_nsec))
    }

    private mutating func append(
        _ entry: BackupManifest.Entry, _ content: BackupSource.Content
    ) throws(CommandFailure) {
        var source = BackupSource(entry: entry, content: content)
        let digest = try ContentDigest()
        try source.read { octets throws(CommandFailure) in try digest.update(octets) }
        source.entry.sha256 = try digest.finish()
        sources.append(source)
    }

    /// The path without what says nothing; nil where it cannot be had.
    static func plain(_ path: String) -> String? {
        if BackupManifest.isPlain(path) { return path }
        let parts = path.split(separator: "/").filter { $0 != "." }
        let simple = "/" + parts.joined(separator: "/")
        if BackupManifest.isPlain(simple) { return simple }
        // `..` behind a symbolic link is not the folder above: the system says which.
        guard let resolved = realpath(Files.folder(of: path), nil), let name = parts.last else { return nil }
        defer { free(resolved) }
        let real = Files.path(String(name), below: String(cString: resolved))
        return BackupManifest.isPlain(real) ? real : nil
    }
}
