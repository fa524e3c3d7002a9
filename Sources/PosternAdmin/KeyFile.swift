// Writes a private key to its place: mode 0400, the daemon's own, whole or not at all, never over another one unasked.

internal import Glibc
internal import PosternDaemon

/// Whom a new key file is given to.
enum KeyOwner: Hashable, Sendable {
    /// The daemon's user, and we may give files away.
    case daemon(UserIdentity)
    /// Whoever runs us; `reason` says why it is not the daemon's user.
    case caller(reason: String)

    /// Whoever runs us: the machine has no such user.
    static let nobody = KeyOwner.caller(reason: "there is no user \(daemonUser) on this machine")
    /// The user that postern-dkim runs as.
    static let daemonUser = ConfigurationRole.dkim.userName

    /// Source: chown(2), only root gives files away.
    static func ofThisSystem() -> KeyOwner {
        guard let user = UserIdentity(named: daemonUser) else {
            return .nobody
        }
        guard geteuid() == 0 || geteuid() == user.uid else {
            return .caller(reason: "only root may give it to \(daemonUser)")
        }
        return .daemon(user)
    }

    /// The daemon's user for root, who asks about the daemon's keys and not about its own; else who runs this.
    static func reader() -> UserIdentity {
        guard geteuid() == 0 else { return .current }
        return UserIdentity(named: daemonUser) ?? .current
    }
}

enum KeyFile {
    static let mode: mode_t = 0o400
    /// For folders that we make: the owner of the configuration writes, the daemon reads.
    static let folderMode: mode_t = 0o750
    /// Most folders that are made for one file.
    private static let maxFolders = 64

    /// Writes a file that is complete at the moment when it appears under its name.
    /// - Parameter replace: whether a file of that name may go.
    /// - Throws: `.exists` when there is one and it may not.
    static func write(_ octets: [UInt8], to path: String, owner: KeyOwner, replace: Bool) throws(FileFailure) {
        if !replace, Files.exists(path) { throw .exists(path: path) }
        let folder = Files.folder(of: path)
        try makeFolder(folder, owner: owner)
        // A dot file in the same folder, since names move only within a file system.
        let name = path.utf8.lastIndex(of: 0x2F).map { String(path[path.utf8.index(after: $0)...]) } ?? path
        let temporary = Files.path(".\(name).\(getpid())", below: folder)
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
        guard file >= 0 else { throw .last("make \(temporary)") }
        defer { unlink(temporary) }  // gone already when it was renamed
        do throws(FileFailure) {
            try fill(file, octets, owner: owner, name: temporary)
        } catch {
            close(file)
            throw error
        }
        guard close(file) == 0 else { throw .last("write \(temporary)") }
        if replace {
            guard rename(temporary, path) == 0 else { throw .last("make \(path)") }
        } else {
            // link(2) never replaces, however late the other file came.
            guard link(temporary, path) == 0 else {
                if errno == EEXIST { throw .exists(path: path) }
                throw .last("make \(path)")
            }
        }
        try syncFolder(folder)
    }

    private static func fill(_ file: Int32, _ octets: [UInt8], owner: KeyOwner, name: String) throws(FileFailure) {
        guard WholeWrite.put(octets, into: file) else { throw .last("write \(name)") }
        guard fchmod(file, mode) == 0 else { throw .last("set the mode of \(name)") }  // whatever the umask
        if case .daemon(let user) = owner {
            guard fchown(file, user.uid, user.gid) == 0 else { throw .last("give \(name) to \(KeyOwner.daemonUser)") }
        }
        guard fsync(file) == 0 else { throw .last("write \(name)") }
    }

    /// Makes the folders that are missing; what is there stays as it is.
    private static func makeFolder(_ folder: String, owner: KeyOwner) throws(FileFailure) {
        var missing: [String] = []
        var at = folder
        while !Files.exists(at), missing.count < maxFolders {
            missing.append(at)
            at = Files.folder(of: at)
        }
        for path in missing.reversed() {
            guard mkdir(path, folderMode) == 0 || errno == EEXIST else { throw .last("make the folder \(path)") }
            guard chmod(path, folderMode) == 0 else { throw .last("set the mode of \(path)") }
            if case .daemon(let user) = owner {
                // chown(2): -1 leaves the owner as it is.
                guard chown(path, uid_t.max, user.gid) == 0 else { throw .last("set the group of \(path)") }
            }
        }
    }

    private static func syncFolder(_ folder: String) throws(FileFailure) {
        let file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard file >= 0 else { throw .last("open the folder \(folder)") }
        defer { close(file) }
        guard fsync(file) == 0 else { throw .last("write the folder \(folder)") }
    }
}
