// Copies of ledgers for backups: each of one consistent moment, made by the daemon that has the file open, while it
// decides on. A database is copied a few hundred pages at a time, with pauses in which others have their turn.
//
// What is in memory is written first: greylisting's changes and the limits' counts; of facts those of the last second
// may be missing.

internal import Glibc

/// How far a copy has come, in octets.
/// - Returns: whether it is still wanted.
public typealias CopyProgress = (_ written: Int, _ total: Int) -> Bool

extension LedgerFile {
    /// Pages of one step: a millisecond of everybody's time.
    private static let stepPages: Int32 = 256
    /// Microseconds between two steps, and before a step that had to wait.
    private static let (pause, wait): (UInt32, UInt32) = (1000, 5000)
    /// Waits in a row: a minute, in which something is wrong.
    private static let maxWaits = 12_000

    /// Writes a copy.
    /// - Parameter path: of a file that will be made; one of this name is removed.
    /// - Returns: false where there is no file to be copied.
    func copy(to path: String, progress: CopyProgress) throws(DatabaseError) -> Bool {
        guard isThere else { return false }
        unlink(path)
        let target = try FilePlace.prepare(path)
        var serial: UInt64?
        var waits = 0
        while true {
            // The copy's trouble is not the file's: it is not thrown in `use`, which would close the file.
            let step = try use(isProof: false) { database throws(DatabaseError) in
                Self.step(of: database, to: target, &serial)
            }
            switch try step.get() {
            case .done: return true
            case .waiting:
                waits += 1
                guard waits < Self.maxWaits else {
                    abandon(serial)
                    throw DatabaseError(.busy, "a transaction has been open for a minute", operation: "copy")
                }
                usleep(Self.wait)
            case .going(let done, let total):
                waits = 0
                guard progress(done * Database.pageOctets, total * Database.pageOctets) else {
                    abandon(serial)
                    throw DatabaseError(.refused, "the copy is no longer wanted", operation: "copy")
                }
                usleep(Self.pause)
            }
        }
    }

    private static func step(
        of database: Database, to path: String, _ serial: inout UInt64?
    ) -> Result<DatabaseCopy.Step, DatabaseError> {
        do throws(DatabaseError) {
            if serial == nil {
                serial = database.serial
                try database.beginCopy(to: path)
            }
            guard serial == database.serial else {
                throw DatabaseError(.busy, "the file was opened anew meanwhile", operation: "copy")
            }
            return .success(try database.stepCopy(pages: stepPages))
        } catch {
            if serial == database.serial { database.endCopy() }
            return .failure(error)
        }
    }

    private func abandon(_ serial: UInt64?) {
        // With the file in trouble, or opened anew, the copy has ended with the connection.
        try? use(isProof: false) { database throws(DatabaseError) in
            if database.serial == serial { database.endCopy() }
        }
    }
}

extension GreylistStore {
    public var path: String { fileForCopy.path }

    /// Writes a copy of what is remembered.
    /// - Parameter path: absolute, of a file that will be made.
    /// - Returns: false where there is no file yet.
    public func copy(to path: String, progress: CopyProgress) throws(DatabaseError) -> Bool {
        try writeForCopy()
        return try fileForCopy.copy(to: path, progress: progress)
    }
}

extension FactStore {
    public var path: String { fileForCopy.path }

    /// Writes a copy of the facts.
    /// - Parameter path: absolute, of a file that will be made.
    /// - Returns: false where there is no file yet.
    public func copy(to path: String, progress: CopyProgress) throws(DatabaseError) -> Bool {
        try fileForCopy.copy(to: path, progress: progress)
    }
}

extension LimitStore {
    private static let copyOctets = 1 << 20

    /// Writes a copy of what is counted: the journal as it is now, up to the end of a whole record.
    /// - Parameter path: absolute, of a file that will be made.
    /// - Returns: false where there is no file yet.
    public func copy(to path: String, progress: CopyProgress) throws(DatabaseError) -> Bool {
        guard let (source, total) = try openForCopy() else { return false }
        defer { Glibc.close(source) }
        unlink(path)
        let target = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard target >= 0 else { throw LimitJournal.failure("create the copy") }
        defer { Glibc.close(target) }
        var buffer = [UInt8](repeating: 0, count: Self.copyOctets)
        var written = 0
        while written < total {
            let wanted = min(buffer.count, total - written)
            let count = buffer.withUnsafeMutableBytes { read(source, $0.baseAddress, wanted) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw LimitJournal.failure("read") }
            guard count > 0 else { throw DatabaseError(.damaged, "it ends too early", operation: "copy") }
            try LimitJournal.writeAll(Array(buffer.prefix(count)), to: target)
            written += count
            guard progress(written, total) else {
                throw DatabaseError(.refused, "the copy is no longer wanted", operation: "copy")
            }
        }
        return true
    }
}

/// Ledgers' files of daemons that do not run.
public enum LedgerRest {
    private static let readOctets = 1 << 20

    /// How much of a journal of limits is whole records; what a crash has torn is behind them.
    /// - Parameter descriptor: of the journal; its place is left alone.
    /// - Throws: where it is none.
    public static func wholeOctets(ofLimits descriptor: CInt) throws(DatabaseError) -> Int {
        var reader = LimitJournalReader()
        var buffer = [UInt8](repeating: 0, count: readOctets)
        var offset = 0
        while !reader.isDamaged {
            let count = buffer.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, off_t(offset)) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw LimitJournal.failure("read") }
            guard count > 0 else { break }
            offset += count
            reader.read(buffer.prefix(count)) { _ in }
        }
        guard reader.time != nil else {
            throw DatabaseError(.damaged, "expected a journal of limits, found something else", operation: "read")
        }
        return reader.isCut ? reader.validOctets : offset
    }
}
