// Where a ledger's file lies and whose it is. The folder is the daemon's, but what lies in it may have been put there
// by a restore, by root, or by somebody else who can write there: only a regular file with one name is opened, and no
// symbolic link is followed. Source: open(2), rename(2), SQLITE_OPEN_NOFOLLOW.

import Glibc
import PosternMail

/// Which file is at a path.
struct FilePlace: Equatable {
    private let device: UInt64
    private let inode: UInt64

    /// - Returns: nil where nothing is.
    init?(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
    }

    /// What SQLite keeps beside a file.
    private static let companions = ["-wal", "-journal", "-shm"]

    /// Makes the file if there is none, with mode 0600, and checks it if there is one. Its companions get its mode.
    ///
    /// It is never opened while SQLite has it open: closing it would give up SQLite's locks (fcntl(2)).
    /// - Returns: the path, the folder's symbolic links resolved.
    static func prepare(_ path: String) throws(DatabaseError) -> String {
        let real = try resolved(path)
        var status = stat()
        if lstat(real, &status) != 0 {
            guard errno == ENOENT else { throw failure("stat") }
            // What is left of a file that is gone would be taken for the new one's.
            for suffix in companions { unlink(real + suffix) }
            let file = open(real, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            guard file >= 0 else { throw failure("create") }
            close(file)
            return real
        }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_nlink == 1 else {
            throw DatabaseError(
                .damaged, "expected a regular file with one name, found another kind", operation: "open")
        }
        if status.st_mode & 0o777 != 0o600, chmod(real, 0o600) != 0 { throw failure("chmod") }
        return real
    }

    /// Whether the file is there and its owner or mode keeps us from it; not a file system that nobody may write to.
    static func isForbidden(_ path: String) -> Bool {
        var status = stat()
        guard lstat(path, &status) == 0, geteuid() != 0 else { return false }
        if access(path, R_OK | W_OK) != 0 { return errno == EACCES || errno == EPERM }
        return status.st_uid != geteuid()
    }

    /// Renames the file and its companions, or removes them when enough were renamed before.
    /// - Returns: what was done, for the log.
    static func setAside(_ path: String, at time: UnixTime, atMost: Int) throws(DatabaseError) -> String {
        let real = try resolved(path)
        let (folder, name) = split(real)
        let prefix = name + ".damaged-"
        guard count(in: folder, prefix: prefix) < atMost else {
            guard unlink(real) == 0 else { throw failure("remove") }
            for suffix in companions { unlink(real + suffix) }
            return "\(atMost) such files are kept already, it is removed"
        }
        var target = folder + "/" + prefix + String(time.seconds)
        // A second one within a second; the name must be free, or the first were lost.
        for number in 1...(atMost + 1) where FilePlace(target) != nil {
            target = "\(folder)/\(prefix)\(time.seconds).\(number)"
        }
        guard rename(real, target) == 0 else { throw failure("rename") }
        for suffix in companions { rename(real + suffix, target + suffix) }
        return "it is set aside as \(target)"
    }

    private static func count(in folder: String, prefix: String) -> Int {
        guard let listing = opendir(folder) else { return 0 }
        defer { closedir(listing) }
        var count = 0
        while let entry = readdir(listing) {
            // d_name's declared length is not its length (readdir(3)).
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name.hasPrefix(prefix), !companions.contains(where: name.hasSuffix) { count += 1 }
        }
        return count
    }

    private static func split(_ path: String) -> (folder: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        let folder = slash == path.startIndex ? "/" : String(path[..<slash])
        return (folder, String(path[path.index(after: slash)...]))
    }

    private static func resolved(_ path: String) throws(DatabaseError) -> String {
        let (folder, name) = split(path)
        guard let real = realpath(folder, nil) else { throw failure("folder") }
        defer { free(real) }
        return String(cString: real) + "/" + name
    }

    /// The system's error, of the call before.
    private static func failure(_ operation: String) -> DatabaseError {
        let number = errno
        let meaning: DatabaseError.Meaning =
            switch number {
            case ENOSPC, EDQUOT: .full
            case EACCES, EPERM, ELOOP: .forbidden
            default: .trouble
            }
        return DatabaseError(meaning, String(cString: strerror(number)), operation: operation)
    }
}
