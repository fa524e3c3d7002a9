// Ledgers' files that no daemon has open: what a backup's test asks of a copy, and what a restore does to a file before
// another takes its place. The owner of a file that is in use does not let it be opened; that is told as `.busy`.

internal import CSQLite
internal import Glibc
internal import PosternAdmission

public enum LedgerInspection {
    /// So many of one sort.
    public struct Count: Hashable, Sendable {
        /// In the plural: `facts`.
        public let name: String
        public let number: Int
    }

    /// Longest list of what is wrong with one file.
    private static let maxProblems = 3
    private static let readOctets = 1 << 20

    // MARK: Copies

    /// Reads all of a copy of greylist.sqlite, every index against its table, and counts.
    /// - Parameter path: absolute, without symbolic links. The copy may be brought to this release's schema.
    public static func greylist(_ path: String) throws(DatabaseError) -> [Count] {
        let database = try whole(path, GreylistSchema.schema)
        let sorts =
            [
                ("triplets that wait", "SELECT count(*) FROM entry WHERE kind = 0"),
                ("known triplets", "SELECT count(*) FROM entry WHERE kind = 1"),
                ("known clients", "SELECT count(*) FROM entry WHERE kind = 2"),
                ("known domains", "SELECT count(*) FROM entry WHERE kind = 3"),
            ] as [(String, StaticString)]
        return try counts(sorts, database)
    }

    /// The same for facts.sqlite.
    public static func facts(_ path: String) throws(DatabaseError) -> [Count] {
        let database = try whole(path, FactSchema.schema)
        return try counts(
            [("facts", "SELECT count(*) FROM fact"), ("policies", "SELECT count(*) FROM policy")], database)
    }

    /// Reads all of a copy of limits.journal.
    public static func limits(_ path: String) throws(DatabaseError) -> [Count] {
        let file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else { throw failure("open") }
        defer { close(file) }
        var reader = LimitJournalReader()
        var buffer = [UInt8](repeating: 0, count: readOctets)
        var keys: Set<Key> = []
        while !reader.isDamaged {
            let count = read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("read") }
            guard count > 0 else { break }
            reader.read(buffer.prefix(count)) { rows in
                for row in rows { keys.insert(Key(name: row.shape.name, octets: row.key.octets)) }
            }
        }
        guard reader.time != nil else {
            throw DatabaseError(.damaged, "expected a journal of limits, found something else", operation: "read")
        }
        guard !reader.isCut else {
            throw DatabaseError(
                .damaged, "expected whole records to its end, found damage after \(reader.validOctets) octets",
                operation: "read")
        }
        return [Count(name: "keys of limits", number: keys.count)]
    }

    private struct Key: Hashable {
        let name: String
        let octets: [UInt8]
    }

    /// A database of this schema, every page of which was read and found right.
    private static func whole(_ path: String, _ schema: Schema) throws(DatabaseError) -> Database {
        let database = try Database(path: path, options: Database.Options())
        guard try database.integer("PRAGMA application_id") == Int64(schema.applicationID) else {
            throw DatabaseError(.damaged, "expected a file of this ledger's, found another", operation: "open")
        }
        try schema.apply(to: database)
        var problems: [String] = []
        try database.run("PRAGMA integrity_check(3)") { row in problems.append(row.text(0)) }
        guard problems == ["ok"] else {
            let text = problems.prefix(maxProblems).joined(separator: "; ")
            throw DatabaseError(.damaged, text.oneLine, operation: "check")
        }
        return database
    }

    private static func counts(
        _ sorts: [(String, StaticString)], _ database: Database
    ) throws(DatabaseError) -> [Count] {
        var counts: [Count] = []
        for (name, question) in sorts {
            counts.append(Count(name: name, number: Int(clamping: try database.integer(question) ?? 0)))
        }
        return counts
    }

    // MARK: Files that will be replaced

    /// Brings what SQLite keeps beside a database into it, so that it is one file, which can be renamed in one step.
    /// Nothing that it says is changed.
    /// - Parameter path: absolute, without symbolic links; a database that nobody has open.
    /// - Throws: `.busy` where somebody has; `.damaged` where it cannot be done, and the file is as it was.
    public static func settle(_ path: String) throws(DatabaseError) {
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        let code = sqlite3_open_v2(path, &opened, flags, nil)
        defer { sqlite3_close(opened) }
        guard let opened, code == SQLITE_OK else {
            let message = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "no memory"
            throw DatabaseError(code: code, message: message, operation: "open")
        }
        // Leaving the write-ahead log writes it back and removes it; it needs to be alone (sqlite.org/wal.html).
        for statement in ["PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=DELETE", "BEGIN EXCLUSIVE", "COMMIT"] {
            let code = sqlite3_exec(opened, statement, nil, nil, nil)
            guard code == SQLITE_OK else {
                throw DatabaseError(code: code, message: String(cString: sqlite3_errmsg(opened)), operation: "settle")
            }
        }
    }

    /// The system's error, of the call before.
    private static func failure(_ operation: String) -> DatabaseError {
        DatabaseError(.trouble, String(cString: strerror(errno)), operation: operation)
    }
}
