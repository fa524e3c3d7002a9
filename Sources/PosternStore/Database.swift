// One connection to one SQLite file that nobody else opens, with its prepared statements. It belongs to one thread at a
// time: whoever shares it holds the lock.
//
// Journal: write-ahead log with synchronous=NORMAL. A commit is one write(2) without fsync(2), so decisions cost
// microseconds; kill -9 loses nothing, since the kernel has the octets; after a power loss the last commits may be
// gone, but never half of one, and never the file (sqlite.org/wal.html). The rollback journal would wait for the disk twice a
// commit to keep a second of greylisting. With locking_mode=EXCLUSIVE the log's index lives in our memory: no -shm file
// that could be damaged, and no lock calls.

internal import CSQLite
import Synchronization

final class Database {
    struct Options: Sendable {
        /// Of the page cache.
        var cacheOctets = 8 << 20
        /// The log is written back into the file when it has grown to this.
        var logOctets = 4 << 20
        /// The file grows no further; zero for no limit.
        var maxOctets = 0
    }

    private let connection: OpaquePointer  // sqlite3 *, owned
    /// No two connections of this process have the same.
    let serial = Database.serials.add(1, ordering: .relaxed).newValue
    private static let serials = Atomic<UInt64>(0)
    /// SQLite counts no memory: it would take a lock for each allocation. Before the first connection, or not at all.
    private static let isConfigured = pst_configure() == SQLITE_OK
    /// Owned; by the address of their constant text.
    private var statements: [UnsafePointer<UInt8>: OpaquePointer] = [:]
    /// For a backup.
    private var copy: DatabaseCopy?

    static let pageOctets = 4096
    /// Longest text or blob; a longer one stands only in a damaged file.
    private static let maxValueOctets: Int32 = 1 << 20

    /// - Parameter path: absolute, without symbolic links, or SQLite refuses it. ":memory:" is taken too.
    init(path: String, options: Options) throws(DatabaseError) {
        _ = Self.isConfigured
        var opened: OpaquePointer?
        let flags =
            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX
            | SQLITE_OPEN_EXRESCODE
        let code = sqlite3_open_v2(path, &opened, flags, nil)
        guard let opened, code == SQLITE_OK else {
            let message = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "no memory"
            sqlite3_close(opened)  // deinit does not run: self was never complete
            throw DatabaseError(code: code, message: message, operation: "open")
        }
        connection = opened
        try check(pst_defend(connection), "open")
        sqlite3_limit(connection, SQLITE_LIMIT_LENGTH, Self.maxValueOctets)
        sqlite3_busy_timeout(connection, 100)
        let maxPages = options.maxOctets == 0 ? 0 : max(16, options.maxOctets / Self.pageOctets)
        for setting in [
            "locking_mode=EXCLUSIVE", "page_size=\(Self.pageOctets)", "journal_mode=WAL", "synchronous=NORMAL",
            "cell_size_check=ON", "temp_store=MEMORY", "secure_delete=FAST", "foreign_keys=ON",
            "cache_size=-\(options.cacheOctets / 1024)", "wal_autocheckpoint=\(options.logOctets / Self.pageOctets)",
            "journal_size_limit=\(options.logOctets)",
        ] { try execute("PRAGMA \(setting)") }
        if maxPages > 0 { try execute("PRAGMA max_page_count=\(maxPages)") }
    }

    deinit {
        copy?.end()  // a connection that is still copied from is not closed
        for statement in statements.values { sqlite3_finalize(statement) }
        sqlite3_close(connection)
    }

    /// From now on closing writes nothing back.
    func leaveAsIs() { _ = pst_leave_as_is(connection) }

    // MARK: Copies

    /// Begins to copy all of it into an empty file, in place of a copy that was begun before.
    func beginCopy(to path: String) throws(DatabaseError) {
        endCopy()
        copy = try DatabaseCopy(of: connection, to: path)
    }

    func stepCopy(pages: Int32) throws(DatabaseError) -> DatabaseCopy.Step {
        guard let copy else { throw DatabaseError(.refused, "no copy was begun", operation: "copy") }
        let step = try copy.step(pages: pages)
        if case .done = step { self.copy = nil }
        return step
    }

    func endCopy() {
        copy?.end()
        copy = nil
    }

    // MARK: Statements

    /// Runs one statement, which is prepared once and kept.
    ///
    /// - Parameter values: for `?1`, `?2` and so on.
    /// - Parameter each: gets every row; the row is good until it returns.
    func run(
        _ sql: StaticString, _ values: [Value] = [], each: (Row) throws(DatabaseError) -> Void = { _ in }
    ) throws(DatabaseError) {
        let statement = try prepared(sql)
        defer {
            sqlite3_reset(statement)
            sqlite3_clear_bindings(statement)
        }
        var index: Int32 = 0
        for value in values {
            index += 1
            try check(Self.bind(value, to: statement, at: index), sql.description)
        }
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW: try each(Row(statement: statement))
            case SQLITE_DONE: return
            case let code: throw failure(code, sql.description)
            }
        }
    }

    /// The first column of the first row.
    func integer(_ sql: StaticString, _ values: [Value] = []) throws(DatabaseError) -> Int64? {
        var found: Int64?
        try run(sql, values) { row in found = found ?? row.integer(0) }
        return found
    }

    /// Statements without values or rows that matter, once.
    func execute(_ sql: String) throws(DatabaseError) {
        try check(sqlite3_exec(connection, sql, nil, nil, nil), sql)
    }

    func begin() throws(DatabaseError) { try run("BEGIN IMMEDIATE") }
    func commit() throws(DatabaseError) { try run("COMMIT") }
    /// Ends a transaction, if one is open: SQLite may have rolled back by itself.
    func rollBack() throws(DatabaseError) { if sqlite3_get_autocommit(connection) == 0 { try run("ROLLBACK") } }

    /// All of it, or nothing.
    func transaction<Result>(_ body: () throws(DatabaseError) -> Result) throws(DatabaseError) -> Result {
        try begin()
        do throws(DatabaseError) {
            let result = try body()
            try commit()
            return result
        } catch {
            try? rollBack()  // the first error is the one to tell
            throw error
        }
    }

    /// Rows that the last statement has changed.
    var changes: Int { Int(sqlite3_changes(connection)) }
    var lastRowID: Int64 { sqlite3_last_insert_rowid(connection) }

    private func prepared(_ sql: StaticString) throws(DatabaseError) -> OpaquePointer {
        if let statement = statements[sql.utf8Start] { return statement }
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(
            connection, UnsafeRawPointer(sql.utf8Start).assumingMemoryBound(to: CChar.self),
            Int32(clamping: sql.utf8CodeUnitCount), UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK, let statement else { throw failure(code, sql.description) }
        statements[sql.utf8Start] = statement
        return statement
    }

    private static func bind(_ value: Value, to statement: OpaquePointer, at index: Int32) -> Int32 {
        switch value {
        case .null: sqlite3_bind_null(statement, index)
        case .integer(let number): sqlite3_bind_int64(statement, index, number)
        case .octets(let octets):
            octets.withUnsafeBytes { pst_bind_blob(statement, index, $0.baseAddress, $0.count) }
        case .text(var text):
            text.withUTF8 { pst_bind_text(statement, index, UnsafeRawPointer($0.baseAddress), $0.count) }
        }
    }

    private func check(_ code: Int32, _ operation: String) throws(DatabaseError) {
        if code != SQLITE_OK { throw failure(code, operation) }
    }

    private func failure(_ code: Int32, _ operation: String) -> DatabaseError {
        DatabaseError(code: code, message: String(cString: sqlite3_errmsg(connection)), operation: operation)
    }
}

extension Database {
    /// What a column holds or gets.
    enum Value: Hashable, Sendable {
        case null
        case integer(Int64)
        case text(String)
        case octets([UInt8])

        static func integer(_ number: Int) -> Value { .integer(Int64(number)) }
        static func optional(_ text: String?) -> Value { text.map { .text($0) } ?? .null }
        static func optional(_ octets: [UInt8]?) -> Value { octets.map { .octets($0) } ?? .null }
        static func optional(_ number: Int?) -> Value { number.map { .integer($0) } ?? .null }
        static func flag(_ flag: Bool) -> Value { .integer(flag ? 1 : 0) }
    }

    /// A row of a running statement, while it is current. A column of another type than asked for is converted as
    /// SQLite does it: a damaged file makes wrong values, never a trap.
    struct Row {
        fileprivate let statement: OpaquePointer

        func isNull(_ column: Int32) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }
        func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }
        func optionalInteger(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }

        func octets(_ column: Int32) -> [UInt8] {
            guard let start = sqlite3_column_blob(statement, column) else { return [] }
            let count = Int(sqlite3_column_bytes(statement, column))
            return Array(UnsafeRawBufferPointer(start: start, count: count))
        }
        func optionalOctets(_ column: Int32) -> [UInt8]? { isNull(column) ? nil : octets(column) }

        func text(_ column: Int32) -> String { String(decoding: octets(column), as: UTF8.self) }
        func optionalText(_ column: Int32) -> String? { isNull(column) ? nil : text(column) }
    }
}
