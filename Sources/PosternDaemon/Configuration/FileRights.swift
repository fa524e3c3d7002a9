// Whether a daemon's user could read a file that somebody else reads now: `postern check` runs as root, to whom every
// file is open. Judged by owner and mode; ACLs are not read, but show in the group's bits. Secrets are SecretFile's.

internal import Glibc

enum FileRights {
    /// Most folders on the way to a file. Source: PATH_MAX / 2.
    private static let maxFolders = 2048

    /// What keeps `user` from reading the file: `expected …, found …`; nil if nothing does, or if nobody can tell.
    /// - Parameter path: absolute.
    static func obstacle(to path: String, for user: UserIdentity) -> String? {
        guard user.uid != 0, user != .current, let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        let real = String(cString: resolved)
        for folder in folders(above: path) + (real == path ? [] : folders(above: real)) {
            var status = stat()
            guard stat(folder, &status) == 0 else { return nil }
            guard user.maySearch(status) else {
                return "expected folders that user \(user.name) can enter, found mode \(octal(status.st_mode)) of uid "
                    + "\(status.st_uid) of \(printable(folder))"
            }
        }
        var status = stat()
        guard stat(real, &status) == 0, !user.mayRead(status) else { return nil }
        return "expected a file that user \(user.name) can read, found mode \(octal(status.st_mode)) of uid "
            + "\(status.st_uid) of \(printable(path))"
    }

    /// The folders on the way to an absolute path, the root first.
    static func folders(above path: String) -> [String] {
        var found = ["/"]
        var folder = ""
        for part in path.split(separator: "/").dropLast().prefix(maxFolders) {
            folder += "/\(part)"
            found.append(folder)
        }
        return found
    }

    /// A mode as chmod(1) writes it.
    static func octal(_ mode: mode_t) -> String {
        let digits = String(mode & 0o7777, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
