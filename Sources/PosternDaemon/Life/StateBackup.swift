// The command `backup` of a daemon's control socket: a copy of what the daemon remembers, of one consistent moment,
// while it works on. Nobody but the daemon opens its files; so the copy is a file too, beside the one that it is of,
// for the daemon and root only (0600, `.NAME.backup`), and it goes when the client hangs up:
//
//     {"written":1048576,"total":8388608}                      now and then
//     {"file":"/var/lib/postern/.greylist.sqlite.backup"}      at the end; "file":null where there is nothing yet
//
// The client opens the file and hangs up. One copy is made at a time. What a crash leaves is removed at the next start.
//
// Small files that are only ever replaced as a whole need no copy: the daemon brings them up to date and names them.

internal import Glibc
public import PosternMail
internal import PosternSocket
internal import Synchronization

public final class StateBackup: Sendable {
    public static let command = "backup"

    /// How far a copy has come, in octets.
    /// - Returns: whether it is still wanted.
    public typealias Progress = (_ written: Int, _ total: Int) -> Bool

    /// How long a client may take to open what it was told of.
    private static let patience = Duration.seconds(60)
    /// Copies that are being made, by their path.
    private static let busy = Mutex<Set<String>>([])

    private enum Standing: Sendable {
        case copying(written: Int, total: Int, isTold: Bool)
        case ready(ControlDocument)
        case told(until: MonotonicTime)
        /// The client has gone.
        case over
    }
    private let standing = Mutex(Standing.copying(written: 0, total: 0, isTold: true))
    /// What the client is told of.
    private let path: String
    /// What is copied.
    private let file: String
    /// Whether it goes when the client has.
    private let isRemoved: Bool

    private init(_ file: String, at path: String, isRemoved: Bool) {
        self.file = file
        self.path = path
        self.isRemoved = isRemoved
    }

    /// Where the copy of a daemon's file is made.
    public static func copyPath(of file: String) -> String {
        guard let slash = file.utf8.lastIndex(of: 0x2F) else { return ".\(file).backup" }
        return "\(file[...slash]).\(file[file.utf8.index(after: slash)...]).backup"
    }

    /// Removes what a crash has left; called at a daemon's start.
    public static func removeLeftover(of file: String) {
        let path = copyPath(of: file)
        for suffix in ["", "-journal", "-wal"] { unlink(path + suffix) }
    }

    /// The answer for a file that is copied.
    /// - Parameter make: writes the copy to a path; on a thread of its own. False where there is nothing to be copied.
    public static func answer(
        of file: String, log: any LogSink, make: @escaping @Sendable (_ path: String, Progress) throws -> Bool
    ) throws(ControlRefusal) -> ControlAnswer {
        try answer(StateBackup(file, at: copyPath(of: file), isRemoved: true), log, make)
    }

    /// The answer for a file that is never changed in place.
    /// - Parameter save: brings it up to date, on a thread of its own. False where there is none.
    public static func answer(
        ofWhole file: String, log: any LogSink, save: @escaping @Sendable () -> Bool
    ) throws(ControlRefusal) -> ControlAnswer {
        try answer(StateBackup(file, at: file, isRemoved: false), log) { _, _ in save() }
    }

    private static func answer(
        _ backup: StateBackup, _ log: any LogSink, _ make: @escaping @Sendable (String, Progress) throws -> Bool
    ) throws(ControlRefusal) -> ControlAnswer {
        guard busy.withLock({ $0.insert(backup.path).inserted }) else {
            throw ControlRefusal("another backup is being made; try again in a while")
        }
        do throws(SocketError) {
            try Thread.start(name: "backup") { backup.run(make, log) }.detach()
        } catch {
            log.warning("\(error); no copy is made for a backup")
            busy.withLock { _ = $0.remove(backup.path) }
            throw ControlRefusal("\(error)")
        }
        return .documents(ControlFeed(ended: backup.end, next: backup.next))
    }

    private func run(_ make: (String, Progress) throws -> Bool, _ log: any LogSink) {
        let document: ControlDocument
        do {
            if isRemoved { try Self.checkRoom(for: file, beside: path) }
            let isThere = try make(path) { written, total in
                standing.withLock { standing in
                    if case .over = standing { return false }
                    standing = .copying(written: written, total: total, isTold: false)
                    return true
                }
            }
            document = ["file": isThere ? .text(path) : .null]
        } catch {
            log.warning("no copy for a backup: \(error)")
            document = ["error": .text("\(error)")]
        }
        let isOver = standing.withLock { standing in
            if case .over = standing { return true }
            standing = .ready(document)
            return false
        }
        if isOver { remove() }
    }

    private struct NoRoom: Error, CustomStringConvertible { let description: String }

    /// A copy must not take the room that the daemon itself needs.
    private static func checkRoom(for file: String, beside path: String) throws(NoRoom) {
        var needed: UInt64 = 0
        for suffix in ["", "-wal"] {
            var status = stat()
            if lstat(file + suffix, &status) == 0 { needed += UInt64(clamping: status.st_size) }
        }
        var room = statvfs()
        let folder = path.utf8.lastIndex(of: 0x2F).map { String(path[...$0]) } ?? "."
        guard statvfs(folder, &room) == 0 else { return }  // the copy tells what is wrong
        let free = UInt64(room.f_bavail).multipliedReportingOverflow(by: UInt64(room.f_frsize))
        guard !free.overflow, free.partialValue < needed + needed / 8 + spareOctets else { return }
        throw NoRoom(
            description: "expected room for a copy of \(needed) octets in \(folder), found \(free.partialValue)")
    }

    /// What the daemon writes meanwhile.
    private static let spareOctets: UInt64 = 16 << 20

    private func next() -> ControlFeed.Part {
        standing.withLock { standing in
            switch standing {
            case .copying(_, _, true): return .nothingYet
            case .copying(let written, let total, false):
                standing = .copying(written: written, total: total, isTold: true)
                return .documents([["written": .number(written), "total": .number(total)]])
            case .ready(let document):
                standing = .told(until: .after(Self.patience))
                return .documents([document])
            case .told(let end): return end.isPast ? .end : .nothingYet
            case .over: return .end
            }
        }
    }

    /// The client has gone, or had its time.
    private func end() {
        let isRunning = standing.withLock { standing in
            defer { standing = .over }
            switch standing {
            case .copying: return true
            case .over: return true  // and removed, or going to be
            case .ready, .told: return false
            }
        }
        if !isRunning { remove() }
    }

    private func remove() {
        if isRemoved { unlink(path) }
        Self.busy.withLock { _ = $0.remove(path) }
    }
}
