// One ledger's file through its troubles: opens it safely, sets a damaged one aside and begins a new one, waits where
// there is nothing to do but wait, and says so once. Whoever uses it holds the lock around it.
//
// - Damaged, none of ours, or not ours to write: renamed to NAME.damaged-TIME, at most `maxSetAside` of them, and a new
//   one is begun. No message waits for a copy or a repair.
// - Full disk, read-only file system, I/O errors, another process: the file stays; it is tried again every
//   10 s, and the log says when it works again.
// - Deleted or replaced under us: what is at the path now is opened.

import Glibc
import PosternMail
import Synchronization

final class LedgerFile: @unchecked Sendable {
    // Unchecked: everything that changes, and SQLite's connection, is touched only in `use` and `close`, under `lock`.
    private let lock = Mutex(())

    /// After a failure nothing is tried for this long. Somebody else who has the file is a daemon that is just ending.
    static func rest(after meaning: DatabaseError.Meaning) -> Duration {
        meaning == .busy ? .seconds(1) : .seconds(10)
    }
    /// Damaged files that are kept. A disk that damages files shall not be filled with them.
    static let maxSetAside = 4
    /// One file is set aside in this time at most: whatever damages them goes on doing so.
    static let setAsideAgainAfter = Duration.seconds(60)
    /// A reason that differs from the last one is told again after this.
    private static let tellAgainAfter = Duration.seconds(600)

    /// Told without the lock, which whoever waits for the disk holds.
    private let isInTrouble = Atomic<Bool>(false)

    let path: String
    private let schema: Schema
    private let options: Database.Options
    private let log: any LogSink
    private let now: @Sendable () -> UnixTime
    /// What the daemon does meanwhile, for the warning.
    private let meanwhile: String

    private var database: Database?
    private var place: FilePlace?
    /// The last failure.
    private var failure: (error: DatabaseError, at: UnixTime)?
    private var setAsideAt: UnixTime?
    /// The trouble that was told and is not over.
    private var told: (meaning: DatabaseError.Meaning, at: UnixTime)?

    /// - Parameter path: absolute. The folder may be a symbolic link, the file may not.
    /// - Parameter meanwhile: `mail is not greylisted`.
    init(
        path: String, schema: Schema, options: Database.Options, meanwhile: String, log: any LogSink,
        now: @escaping @Sendable () -> UnixTime
    ) {
        self.path = path
        self.schema = schema
        self.options = options
        self.meanwhile = meanwhile
        self.log = log
        self.now = now
    }

    /// Works with the file, which is opened where it is not; one thread at a time.
    ///
    /// After a failure the file is closed, or replaced where it is damaged; `body` is not run again.
    /// - Parameter isProof: what `body` does shows that a trouble is over; a part of a transaction shows nothing.
    func use<Result>(
        isProof: Bool = true, _ body: (Database) throws(DatabaseError) -> Result
    ) throws(DatabaseError) -> Result {
        try lock.withLock { _ throws(DatabaseError) in
            let database = try opened()
            do throws(DatabaseError) {
                let result = try body(database)
                if isProof { recovered() }
                return result
            } catch {
                if error.meaning == .refused { tell(error) } else { fail(error) }
                throw error
            }
        }
    }

    /// Brings what was committed from the kernel to the disk; nobody waits for it but the caller.
    func synchronize() throws(DatabaseError) {
        // A descriptor of its own: SQLite's locks are on the file itself, which must not be closed here (fcntl(2)).
        let descriptor = Glibc.open(path + "-wal", O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { return }  // deleted: the next use finds out
        defer { Glibc.close(descriptor) }
        guard fdatasync(descriptor) != 0 else { return }
        let error = DatabaseError(.trouble, String(cString: strerror(errno)), operation: "fdatasync")
        try use { _ throws(DatabaseError) in throw error }
    }

    /// Whether there is a file.
    var isThere: Bool { FilePlace(path) != nil }

    func close() { lock.withLock { _ in letGo() } }

    var health: StoreHealth {
        StoreHealth(
            isWorking: !isInTrouble.load(ordering: .relaxed),
            octets: StoreHealth.octets(of: [path, path + "-wal"]))
    }

    private func letGo() {
        database = nil
        place = nil
    }

    /// Whether a failure was so recent that nothing is tried.
    private var isResting: Bool {
        guard let failure else { return false }
        let time = now()
        // A clock that was set back ends the rest.
        return time >= failure.at && time - failure.at < Self.rest(after: failure.error.meaning)
    }

    private func opened() throws(DatabaseError) -> Database {
        if let database {
            if place == FilePlace(path) { return database }
            log.warning("\(path): it was deleted or replaced while it was in use; what is there now is opened")
            database.leaveAsIs()
            letGo()
        }
        if let failure, isResting { throw failure.error }
        do throws(DatabaseError) { return try open() } catch {
            fail(error)
            guard failure == nil else { throw error }  // else the file was set aside, and a new one can be begun
        }
        do throws(DatabaseError) { return try open() } catch {
            rest(error)
            throw error
        }
    }

    private func open() throws(DatabaseError) -> Database {
        let real = try FilePlace.prepare(path)
        let database = try Database(path: real, options: options)
        do throws(DatabaseError) { try schema.apply(to: database) } catch {
            database.leaveAsIs()
            throw error
        }
        self.database = database
        place = FilePlace(path)
        return database
    }

    /// Closes the file; afterwards `failure` is nil if a new one may be begun at once.
    private func fail(_ error: DatabaseError) {
        database?.leaveAsIs()
        letGo()
        // A file that can only be read shows as one error or another: SQLite cannot lock it.
        let isInTheWay = [.forbidden, .trouble].contains(error.meaning) && FilePlace.isForbidden(path)
        guard error.meaning == .damaged || isInTheWay else { return rest(error) }
        let time = now()
        if let setAsideAt, time >= setAsideAt, time - setAsideAt < Self.setAsideAgainAfter { return rest(error) }
        setAsideAt = time
        do throws(DatabaseError) {
            let name = try FilePlace.setAside(path, at: time, atMost: Self.maxSetAside)
            log.warning("\(path): \(error); \(name), a new file is begun")
            failure = nil
        } catch let second {
            rest(DatabaseError(error.meaning, "\(error); \(second)", operation: "set aside"))
        }
    }

    private func rest(_ error: DatabaseError) {
        failure = (error, now())
        isInTrouble.store(true, ordering: .relaxed)
        tell(error)
    }

    /// One warning for one trouble.
    private func tell(_ error: DatabaseError) {
        let time = now()
        if let told {
            let isAgain = told.meaning == error.meaning || time - told.at < Self.tellAgainAfter
            if isAgain, time >= told.at { return }
        }
        told = (error.meaning, time)
        let rest = Self.rest(after: error.meaning).components.seconds
        log.warning("\(path): \(error); \(meanwhile), trying again every \(rest) s")
    }

    private func recovered() {
        failure = nil
        isInTrouble.store(false, ordering: .relaxed)
        guard told != nil else { return }
        told = nil
        log.info("\(path): works again")
    }
}
