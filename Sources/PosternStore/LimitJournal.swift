// limits.journal on the disk: rows are appended; when it has grown to several times what it says, a new one with every
// key once is written beside it, brought to the disk and put in its place in one step. A start reads the file and then
// writes a new one, so a torn end is never appended to.
//
// With a full or read-only disk limits go on in memory: one warning, and another try every 10 s, by writing all of it
// anew. A file of which nothing can be read is set aside. One thread at a time.

import Glibc
import PosternAdmission
import PosternMail

final class LimitJournal {
    /// A file is not made anew before it is so long.
    private static let leastOctets = 4 << 20
    /// How many times longer than with every key once.
    private static let growth = 3
    private static let rest = Duration.seconds(10)
    private static let maxSetAside = 4
    private static let page = 500
    private static let readOctets = 1 << 20
    /// Changes are appended at least so often while a file is made anew.
    private static let appendEvery = Duration.milliseconds(500)

    private let path: String
    private let memory: LimitMemory
    private let log: any LogSink
    private let wall: @Sendable () -> UnixTime

    private var descriptor: CInt = -1
    private var place: FilePlace?
    private var writer = LimitJournalWriter()
    private var octets = 0
    private var freshOctets = 0
    private var failedAt: UnixTime?
    private var told: DatabaseError.Meaning?
    /// Whether all changes were on the disk after the last write.
    var isSaved: Bool { descriptor >= 0 && failedAt == nil }

    init(path: String, memory: LimitMemory, log: any LogSink, wall: @escaping @Sendable () -> UnixTime) {
        self.path = path
        self.memory = memory
        self.log = log
        self.wall = wall
    }

    deinit { letGo() }

    /// Closes the file; what is written later begins a new one.
    func letGo() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
        place = nil
    }

    // MARK: Start

    /// Puts what the file says into the memory, and lets time go on where it left off.
    func load(now: UnixTime) {
        do throws(DatabaseError) {
            try read(now)
        } catch {
            guard error.meaning == .damaged || FilePlace.isForbidden(path) else {
                tell(error)
                return
            }
            do throws(DatabaseError) {
                let what = try FilePlace.setAside(path, at: wall(), atMost: Self.maxSetAside)
                log.warning("\(path): \(error); \(what), limits begin anew")
            } catch {
                tell(error)
            }
        }
    }

    private func read(_ now: UnixTime) throws(DatabaseError) {
        guard FilePlace(path) != nil else { return }
        let real = try FilePlace.prepare(path)
        let file = Glibc.open(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else { throw Self.failure("open") }
        defer { close(file) }
        var reader = LimitJournalReader()
        var buffer = [UInt8](repeating: 0, count: Self.readOctets)
        var size = 0
        while !reader.isDamaged {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Self.failure("read") }
            guard count > 0 else { break }
            size += count
            reader.read(buffer.prefix(count)) { rows in memory.restore(rows) }
        }
        guard let time = reader.time else {
            // A new file has a frame from its first moment on, and is put in place with it.
            guard size == 0 else {
                throw DatabaseError(.damaged, "expected a journal of limits, found something else", operation: "read")
            }
            return
        }
        if reader.isCut {
            log.warning(
                "\(path): expected whole records to its end, found damage after \(reader.validOctets) octets; "
                    + "what follows is left out")
        }
        // A wall clock that was set back meanwhile: no time has passed.
        let passed = max(0, wall().nanoseconds / 1_000_000 - reader.wall)
        memory.resume(at: time + passed, now: now)
    }

    // MARK: Copies

    /// See LimitStore.
    func openForCopy() throws(DatabaseError) -> (descriptor: CInt, octets: Int)? {
        guard isSaved else {
            guard FilePlace(path) != nil else { return nil }
            throw DatabaseError(.trouble, "the journal is in trouble, its copy would be old", operation: "copy")
        }
        let file = Glibc.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else { throw Self.failure("open") }
        return (file, octets)
    }

    // MARK: Writing

    /// Brings what has changed to the disk.
    func write() {
        if descriptor >= 0, place != FilePlace(path) {
            log.warning("\(path): it was deleted or replaced while it was in use; it is written anew")
            letGo()
        }
        let time = wall()
        // A clock that was set back ends the rest.
        let isResting = failedAt.map { time >= $0 && time - $0 < Self.rest } ?? false
        do throws(DatabaseError) {
            let isLong = octets > max(Self.leastOctets, freshOctets * Self.growth)
            if descriptor < 0 || isLong, !isResting {
                try writeAnew()
                recovered()
            } else if descriptor >= 0 {
                try appendChanges(and: nil)
            } else {
                // They are in the memory, from which the file will be made anew.
                while !memory.takeChanges(atMost: Self.page).rows.isEmpty {}
            }
        } catch {
            failedAt = time
            tell(error)
        }
    }

    /// Appends changes to the file, and to one that is just being made.
    private func appendChanges(and fresh: (file: CInt, add: ([UInt8]) -> Void, frames: Frames)?) throws(DatabaseError) {
        var isChanged = false
        while true {
            let (rows, time) = memory.takeChanges(atMost: Self.page)
            guard !rows.isEmpty else { break }
            isChanged = true
            if descriptor >= 0 {
                let frames = writer.frames(rows, time: time, wall: wall())
                do throws(DatabaseError) { try Self.writeAll(frames, to: descriptor) } catch {
                    letGo()  // what is behind a torn frame would not be read
                    guard fresh != nil else { throw error }
                }
                octets += frames.count
            }
            if let fresh {
                let frames = fresh.frames.of(rows, time, wall())
                try Self.writeAll(frames, to: fresh.file)
                fresh.add(frames)
            }
        }
        guard isChanged, descriptor >= 0, fdatasync(descriptor) != 0 else { return }
        let error = Self.failure("fdatasync")
        letGo()
        guard fresh != nil else { throw error }
    }

    /// The frames of a file that is being made.
    private final class Frames {
        var writer = LimitJournalWriter()
        func of(_ rows: [LimitRow], _ time: Int64, _ wall: UnixTime) -> [UInt8] {
            writer.frames(rows, time: time, wall: wall)
        }
    }

    private func writeAnew() throws(DatabaseError) {
        let new = path + ".new"
        unlink(new)  // of a crash; if it stays, open tells
        let file = Glibc.open(new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Self.failure("open") }
        var isPlaced = false
        defer {
            if !isPlaced {
                close(file)
                unlink(new)
            }
        }
        var count = LimitJournalFormat.magic.count
        try Self.writeAll(LimitJournalFormat.magic, to: file)
        let frames = Frames()
        var cursor: LimitCursor? = LimitCursor()
        var appended = ContinuousClock.now
        while cursor != nil {
            let rows = memory.rows(after: &cursor, atMost: Self.page)
            // Asked after the rows: none of them is later.
            let octets = frames.of(rows, memory.takeChanges(atMost: 0).time, wall())
            try Self.writeAll(octets, to: file)
            count += octets.count
            if ContinuousClock.now - appended > Self.appendEvery {
                try appendChanges(and: (file, { count += $0.count }, frames))
                guard fdatasync(file) == 0 else { throw Self.failure("fdatasync") }  // in small portions
                appended = .now
            }
        }
        try appendChanges(and: (file, { count += $0.count }, frames))
        // Without it a crash could leave the new name with nothing in it. Source: fsync(2), rename(2).
        guard fsync(file) == 0 else { throw Self.failure("fsync") }
        guard rename(new, path) == 0 else { throw Self.failure("rename") }
        isPlaced = true
        letGo()
        descriptor = file
        place = FilePlace(path)
        writer = frames.writer
        octets = count
        freshOctets = count
        syncFolder()
    }

    /// A name that is lost with the power costs what was counted since the file before: no failure.
    private func syncFolder() {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let file = Glibc.open(folder.isEmpty ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard file >= 0 else { return }
        _ = fsync(file)
        close(file)
    }

    static func writeAll(_ octets: [UInt8], to file: CInt) throws(DatabaseError) {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno != EINTR { throw failure("write") }
            rest = rest.dropFirst(max(0, count))
        }
    }

    // MARK: Telling

    /// One warning for one trouble.
    private func tell(_ error: DatabaseError) {
        guard told != error.meaning else { return }
        told = error.meaning
        log.warning(
            "\(path): \(error); limits are kept in memory only, trying again every \(Self.rest.components.seconds) s")
    }

    private func recovered() {
        failedAt = nil
        guard told != nil else { return }
        told = nil
        log.info("\(path): works again")
    }

    /// The system's error, of the call before.
    static func failure(_ operation: String) -> DatabaseError {
        let number = errno
        let meaning: DatabaseError.Meaning =
            switch number {
            case ENOSPC, EDQUOT: .full
            case EACCES, EPERM, EROFS: .forbidden
            case ELOOP: .damaged
            default: .trouble
            }
        return DatabaseError(meaning, String(cString: strerror(number)), operation: operation)
    }
}
