// Reads private keys, and first judges whether they are private: a signing key that others can read or replace signs
// for them. What is asked for:
// - the owner is root or the daemon's user;
// - nobody else has access, but for this: a file of root's may be readable for the daemon's own group (0440 or 0640
//   root:postern-dkim), so that a daemon that was broken into cannot change its keys;
// - no folder on the way is writable for everyone, unless it is sticky like /tmp;
// - the daemon's user can search the folders and read the file.
// Owner and mode are judged for the daemon's user, whoever asks; ACLs are not read, but show in the group's bits.

internal import Glibc

enum SecretFile {
    /// The octets of a file that only `user` can read.
    /// - Parameter path: absolute.
    /// - Throws: `expected …, found …`.
    static func octets(_ path: String, for user: UserIdentity, cap: Int) throws(Unfit) -> [UInt8] {
        guard let resolved = realpath(path, nil) else { throw unreadable(path, user, .system(errno: errno)) }
        defer { free(resolved) }
        let real = String(cString: resolved)
        for folder in FileRights.folders(above: path) + (real == path ? [] : FileRights.folders(above: real)) {
            try check(folder: folder, for: user)
        }
        var status = stat()
        guard stat(real, &status) == 0 else { throw unreadable(path, user, .system(errno: errno)) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw unreadable(path, user, .notRegular) }
        try check(file: path, status, for: user)
        do throws(FileError) {
            return try FileReading.octets(real, cap: cap)
        } catch {
            throw unreadable(path, user, error)
        }
    }

    private static func unreadable(_ path: String, _ user: UserIdentity, _ error: FileError) -> Unfit {
        if case .system(errno: EACCES) = error, user != .current {
            return Unfit("expected to be asked by root or user \(user.name), who can look at \(printable(path))")
        }
        return Unfit("expected a file that user \(user.name) can read, found \(error.found) at \(printable(path))")
    }

    private static func check(file path: String, _ status: stat, for user: UserIdentity) throws(Unfit) {
        let mode = FileRights.octal(status.st_mode)
        let path = printable(path)
        let isOwnersAlone = status.st_mode & (S_IRWXG | S_IRWXO) == 0
        let isForOwnGroup =
            status.st_mode & (S_IRWXG | S_IRWXO) == S_IRGRP && status.st_uid == 0 && status.st_gid == user.gid
        guard isOwnersAlone || isForOwnGroup else {
            let whom = status.st_mode & S_IRWXO != 0 ? "for everyone" : "for group \(status.st_gid)"
            throw Unfit(
                "expected a private key that only user \(user.name) can read, found mode \(mode), open \(whom): "
                    + "chown \(user.name) \(path) && chmod 0400 \(path)")
        }
        guard user.uid == 0 || status.st_uid == 0 || status.st_uid == user.uid else {
            throw Unfit("expected a file of user \(user.name) or root, found one of uid \(status.st_uid): \(path)")
        }
        guard user.mayRead(status) else {
            throw Unfit(
                "expected a file that user \(user.name) can read, found mode \(mode) of uid \(status.st_uid): "
                    + "chown \(user.name) \(path)")
        }
    }

    private static func check(folder: String, for user: UserIdentity) throws(Unfit) {
        var status = stat()
        guard stat(folder, &status) == 0 else { throw unreadable(folder, user, .system(errno: errno)) }
        let mode = FileRights.octal(status.st_mode)
        guard status.st_mode & S_IWOTH == 0 || status.st_mode & S_ISVTX != 0 else {
            throw Unfit("expected folders that others cannot write to, found mode \(mode) of \(printable(folder))")
        }
        guard user.maySearch(status) else {
            throw Unfit(
                "expected folders that user \(user.name) can enter, found mode \(mode) of uid \(status.st_uid) "
                    + "of \(printable(folder))")
        }
    }
}
