// Where the lines come from: files that the admin names, else /var/log/mail.log and its rotated ones, else the journal.

internal import Glibc
internal import PosternMail
internal import PosternSocket

/// One file, or the journal.
enum LogSource: Equatable {
    case file(path: String, octets: Int, modified: UnixTime)
    /// What journalctl(1) writes.
    case journal

    /// For messages.
    var name: String {
        switch self {
        case .file(let path, _, _): path
        case .journal: "the journal"
        }
    }

    var octets: Int { if case .file(_, let octets, _) = self { octets } else { 0 } }

    /// No line is younger than its file's last change.
    func mayHold(linesSince since: UnixTime) -> Bool {
        guard case .file(_, _, let modified) = self else { return true }
        return modified + LogClock.tolerance >= since
    }

    /// Whether it can be read again from its beginning.
    var isRegular: Bool {
        guard case .file(let path, _, _) = self else { return true }
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// Where Debian's rsyslog writes, and logrotate leaves what it has rotated.
    static let usualFolder = "/var/log"
    private static let usualName = "mail.log"
    /// Most files that are looked at in a folder.
    private static let maxFiles = 10_000

    /// A file that the admin has named.
    /// - Throws: when it is not there.
    static func named(_ path: String) throws(FileFailure) -> LogSource {
        var status = stat()
        guard stat(path, &status) == 0 else { throw .last("read \(path)") }
        guard status.st_mode & S_IFMT != S_IFDIR else { throw .system(operation: "read \(path)", errno: EISDIR) }
        return file(path, status)
    }

    private static func file(_ path: String, _ status: stat) -> LogSource {
        let isRegular = status.st_mode & S_IFMT == S_IFREG
        // What comes through a pipe is as young as this moment may be.
        let modified = isRegular ? UnixTime(seconds: Int64(status.st_mtim.tv_sec)) : WallClock.now()
        return .file(path: path, octets: isRegular ? Int(status.st_size) : 0, modified: modified)
    }

    /// `mail.log`, `mail.log.1`, `mail.log.2.gz`, `mail.log-20261121` ..., the oldest first.
    static func rotated(in folder: String = usualFolder) -> [LogSource] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var found: [(path: String, modified: UnixTime, source: LogSource)] = []
        for _ in 0..<maxFiles {
            guard let entry = readdir(directory) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard isRotated(name) else { continue }
            let path = Files.path(name, below: folder)
            var status = stat()
            guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
            let source = file(path, status)
            if case .file(_, _, let modified) = source { found.append((path, modified, source)) }
        }
        return found.sorted { ($0.modified, $0.path) < ($1.modified, $1.path) }.map(\.source)
    }

    static func isRotated(_ name: String) -> Bool {
        guard name.hasPrefix(usualName) else { return false }
        let rest = name.dropFirst(usualName.count)
        // xz and zstd are read by no library that we link.
        return rest.isEmpty
            || (rest.first == "." || rest.first == "-") && ![".xz", ".zst", ".bz2"].contains { rest.hasSuffix($0) }
    }
}
