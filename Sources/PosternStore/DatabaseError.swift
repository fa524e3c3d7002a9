// What SQLite says went wrong, and what that means for the file (sqlite.org/rescode.html). What is done about it is
// LedgerFile's.

internal import CSQLite

public struct DatabaseError: Error, Hashable, Sendable {
    /// What a failure says about the file.
    public enum Meaning: Hashable, Sendable {
        /// Nothing can be added now: no room left.
        case full
        /// Not what we have written: its octets are wrong, it is no database, or none of ours.
        case damaged
        /// We may not write to it, or not even open it.
        case forbidden
        /// Somebody else has it open.
        case busy
        /// Reading or writing failed otherwise, or there is no memory.
        case trouble
        /// The statement itself was refused; the file is not to blame.
        case refused
    }

    public let meaning: Meaning
    /// SQLite's extended result code; 0 where we have found out ourselves.
    public let code: Int32
    public let message: String
    /// What was tried.
    public let operation: String

    init(_ meaning: Meaning, _ message: String, operation: String) {
        self.meaning = meaning
        self.message = message
        self.operation = operation
        code = 0
    }

    /// - Parameter message: of the connection, taken right after the failure.
    init(code: Int32, message: String, operation: String) {
        self.code = code
        self.message = message
        self.operation = operation
        meaning = Self.meaning(of: code)
    }

    private static func meaning(of code: Int32) -> Meaning {
        switch code {
        case SQLITE_IOERR | (33 << 8): return .damaged  // SQLITE_IOERR_CORRUPTFS
        case SQLITE_IOERR | (2 << 8): return .damaged  // SQLITE_IOERR_SHORT_READ: it ends too early
        default: break
        }
        switch code & 0xFF {
        case SQLITE_FULL: return .full
        // SQLITE_ERROR and the others: our statements are constants, so what they do not fit is no file of ours.
        case SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_FORMAT, SQLITE_ERROR, SQLITE_SCHEMA, SQLITE_TOOBIG, SQLITE_MISMATCH:
            return .damaged
        case SQLITE_READONLY, SQLITE_PERM, SQLITE_AUTH, SQLITE_CANTOPEN: return .forbidden
        case SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL: return .busy
        case SQLITE_CONSTRAINT, SQLITE_RANGE, SQLITE_MISUSE: return .refused
        default: return .trouble
        }
    }
}

extension DatabaseError: CustomStringConvertible {
    public var description: String { "\(operation): \(message)" + (code == 0 ? "" : " (SQLite \(code))") }
}
