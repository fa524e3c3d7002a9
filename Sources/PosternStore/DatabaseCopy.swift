// A copy of a database while it is in use: SQLite's online backup, some pages at a time (sqlite.org/backup.html). The
// copy is of the moment of its last step: what this process writes meanwhile goes into both. Nobody else can make one,
// since nobody else can open the file (Database).
//
// The copy is written without a journal and not brought to the disk: after a crash it is of no use to anybody.

internal import CSQLite

/// A copy that is being made. Touched only while its database is.
final class DatabaseCopy {
    enum Step {
        /// Pages are left to be copied.
        case going(done: Int, of: Int)
        /// A transaction is open: nothing can be copied before its end.
        case waiting
        case done
    }

    private var target: OpaquePointer?  // sqlite3 *, owned
    private var backup: OpaquePointer?  // sqlite3_backup *, owned; it must end before `target` and its source close

    /// - Parameter path: of an empty file.
    init(of source: OpaquePointer, to path: String) throws(DatabaseError) {
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        var opened: OpaquePointer?
        let code = sqlite3_open_v2(path, &opened, flags, nil)
        target = opened
        guard code == SQLITE_OK else { throw failure(code, "open the copy") }
        let settings = "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE"
        let status = sqlite3_exec(target, settings, nil, nil, nil)
        guard status == SQLITE_OK else { throw failure(status, "open the copy") }
        backup = sqlite3_backup_init(target, "main", source, "main")
        guard backup != nil else { throw failure(sqlite3_extended_errcode(target), "begin the copy") }
    }

    deinit { end() }

    /// Copies some pages.
    func step(pages: Int32) throws(DatabaseError) -> Step {
        switch sqlite3_backup_step(backup, pages) {
        case SQLITE_DONE:
            let code = sqlite3_backup_finish(backup)
            backup = nil
            guard code == SQLITE_OK else { throw failure(code, "end the copy") }
            let status = sqlite3_close(target)
            target = nil
            guard status == SQLITE_OK else { throw failure(status, "close the copy") }
            return .done
        case SQLITE_OK:
            let total = Int(sqlite3_backup_pagecount(backup))
            return .going(done: total - Int(sqlite3_backup_remaining(backup)), of: total)
        case let code where [SQLITE_BUSY, SQLITE_LOCKED].contains(code & 0xFF): return .waiting
        case let code: throw failure(code, "copy")
        }
    }

    /// Lets go of both databases; for a copy that is not done: of no more use.
    func end() {
        if let backup { sqlite3_backup_finish(backup) }
        backup = nil
        sqlite3_close(target)
        target = nil
    }

    private func failure(_ code: Int32, _ operation: String) -> DatabaseError {
        let message = target.map { String(cString: sqlite3_errmsg($0)) } ?? "no memory"
        return DatabaseError(code: code, message: message, operation: operation)
    }
}
