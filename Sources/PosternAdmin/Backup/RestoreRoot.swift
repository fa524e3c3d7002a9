// The place that a restore writes below: `/`, or a folder that stands for it. Every file is reached folder by folder
// from the root's descriptor, and no symbolic link leads anywhere: what a path of an archive, or somebody who may write
// in a folder on the way, would like to lead elsewhere is refused (openat(2), O_NOFOLLOW).
//
// One exception, for `/` alone: a link on the way that is root's, in a folder where only root can have put it, is how
// admins move a folder to another disk, and is followed. Never the last part: there a link is replaced.

internal import Glibc
internal import PosternDaemon
internal import PosternMail

final class RestoreRoot {
    /// Without links, and no slash at its end, but for `/` itself.
    let path: String
    private let root: Int32
    /// Descriptors by path, owned; and their paths, that of the longest rest first.
    private var folders: [String: Int32] = [:]
    private var order: [String] = []

    /// Descriptors that stay open. A thousand domains may have a folder each; nobody works with more than a few at
    /// once.
    private static let maxOpen = 64

    /// Links on the way to one folder. Source: path_resolution(7), 40 in all.
    private static let maxLinks = 40
    private static let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC

    /// - Parameter path: a folder that is there. It may be reached over links: whoever names it means it.
    init(_ path: String) throws(CommandFailure) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .last("open the folder \(LogText.escaped(path.utf8))") }
        guard let real = realpath("/proc/self/fd/\(descriptor)", nil) else {
            close(descriptor)  // deinit does not run: self was never complete
            throw .last("look at the folder \(LogText.escaped(path.utf8))")
        }
        defer { free(real) }
        self.path = String(cString: real)
        root = descriptor
    }

    deinit {
        for folder in folders.values { close(folder) }
        close(root)
    }

    var isWholeSystem: Bool { path == "/" }

    /// A path below the root as everybody else sees it.
    func outside(_ inner: String) -> String { isWholeSystem ? inner : path + inner }
    /// The same for a terminal.
    func shown(_ inner: String) -> String { LogText.escaped(outside(inner).utf8) }

    // MARK: Folders

    /// The descriptor of a folder, which stays ours, and open while few others are asked for.
    /// - Returns: nil where there is none.
    func folder(_ inner: String) throws(CommandFailure) -> Int32? {
        if let known = folders[inner] {
            order.removeAll { $0 == inner }
            order.append(inner)
            return known
        }
        guard let found = try walk(to: inner) else { return nil }
        if order.count >= Self.maxOpen { forget(order[order.startIndex]) }
        folders[inner] = found
        order.append(inner)
        return found
    }

    private func forget(_ inner: String) {
        order.removeAll { $0 == inner }
        if let known = folders.removeValue(forKey: inner) { close(known) }
    }

    /// Makes one folder, whose own folder is there.
    func make(_ folder: RestorePlan.Folder) throws(CommandFailure) {
        guard let above = try self.folder(Files.folder(of: folder.path)) else {
            throw CommandFailure(.unavailable, "\(shown(Files.folder(of: folder.path))) is gone")
        }
        let name = RestorePlan.name(of: folder.path)
        guard mkdirat(above, name, 0o700) == 0 else { throw .last("make the folder \(shown(folder.path))") }
        guard let made = try self.folder(folder.path) else {
            throw CommandFailure(.unavailable, "\(shown(folder.path)) is gone")
        }
        if let owner = folder.owner {
            guard fchown(made, owner.user, owner.group) == 0 else { throw .last("give away \(shown(folder.path))") }
        }
        // After chown(2), which takes the setgid bit away; whatever the umask.
        guard fchmod(made, folder.mode) == 0 else { throw .last("set the mode of \(shown(folder.path))") }
        try synchronize(above, Files.folder(of: folder.path))
    }

    /// Removes a folder that we have made, if nobody has put anything there.
    func remove(_ folder: RestorePlan.Folder) {
        forget(folder.path)
        // Nothing above it is lost that was not made for it.
        guard let above = try? self.folder(Files.folder(of: folder.path)) else { return }
        unlinkat(above, RestorePlan.name(of: folder.path), AT_REMOVEDIR)
    }

    /// Most names of a folder that are looked at.
    private static let maxNames = 100_000

    /// What is in a folder; nothing where there is none.
    func names(in inner: String) throws(CommandFailure) -> [String] {
        guard let folder = try self.folder(inner) else { return [] }
        guard let stream = fdopendir(try duplicate(folder)) else { throw .last("list \(shown(inner))") }
        defer { closedir(stream) }
        return FolderNames.read(stream, atMost: Self.maxNames)
    }

    /// Brings a folder's names to the disk. Source: fsync(2).
    func synchronize(_ folder: Int32, _ inner: String) throws(CommandFailure) {
        guard fsync(folder) == 0 else { throw .last("write the folder \(shown(inner))") }
    }

    /// Goes from the root to a folder.
    private func walk(to inner: String) throws(CommandFailure) -> Int32? {
        var rest = Self.parts(inner)
        var way = [try duplicate(root)]
        defer { for folder in way { close(folder) } }
        var links = 0
        while let part = rest.popFirst() {
            guard let here = way.last else { return nil }
            if part == ".." {  // of a trusted link only: an archive's paths have none
                if way.count > 1, let last = way.popLast() { close(last) }
                continue
            }
            let next = openat(here, part, Self.flags)
            if next >= 0 {
                way.append(next)
                continue
            }
            let code = errno
            if code == ENOENT { return nil }
            // O_DIRECTORY and O_NOFOLLOW at a link: ENOTDIR (open(2)).
            guard code == ELOOP || code == ENOTDIR else {
                throw .system("open the folder \(shown(inner))", code)
            }
            guard let target = try trustedLink(part, in: here, on: inner) else {
                throw CommandFailure(
                    .badData,
                    "\(shown(inner)): expected folders on the way, found \(LogText.escaped(part.utf8)), "
                        + "which is a file or a symbolic link that is not followed")
            }
            links += 1
            guard links <= Self.maxLinks else { throw .system("open the folder \(shown(inner))", ELOOP) }
            if target.hasPrefix("/") {
                for folder in way.dropFirst() { close(folder) }
                way = Array(way.prefix(1))
            }
            rest = Self.parts(target) + rest
        }
        return try way.last.map { folder throws(CommandFailure) in try duplicate(folder) }
    }

    private static func parts(_ path: String) -> ArraySlice<String> {
        path.split(separator: "/").map(String.init).filter { $0 != "." }[...]
    }

    private func duplicate(_ folder: Int32) throws(CommandFailure) -> Int32 {
        let copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { throw .last("open a folder") }
        return copy
    }

    /// Where a link leads that only root can have made.
    private func trustedLink(_ name: String, in folder: Int32, on inner: String) throws(CommandFailure) -> String? {
        guard isWholeSystem else { return nil }
        var link = stat()
        var around = stat()
        guard fstatat(folder, name, &link, AT_SYMLINK_NOFOLLOW) == 0, fstat(folder, &around) == 0 else {
            throw .last("look at \(shown(inner))")
        }
        guard link.st_mode & S_IFMT == S_IFLNK, link.st_uid == 0, around.st_uid == 0,
            around.st_mode & (S_IWGRP | S_IWOTH) == 0
        else { return nil }
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlinkat(folder, name, &buffer, buffer.count)
        guard count > 0, count < buffer.count else { throw .last("read the link \(LogText.escaped(name.utf8))") }
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    // MARK: Files

    /// What is at a path.
    func found(_ inner: String, _ entry: BackupManifest.Entry) throws(CommandFailure) -> FoundFile {
        guard let folder = try self.folder(Files.folder(of: inner)) else { return .absent }
        let name = RestorePlan.name(of: inner)
        var status = stat()
        guard fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            guard errno == ENOENT else { throw .last("look at \(shown(inner))") }
            return .absent
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFLNK: return .link
        default: return .other
        }
        let owner = FileOwner(user: status.st_uid, group: status.st_gid)
        // What differs in size differs; so most files are never read.
        let sha256 = Int(status.st_size) == entry.size ? try digest(of: name, in: folder, inner) : []
        return .file(
            sha256: sha256, mode: status.st_mode & 0o7777, owner: owner,
            isSettled: entry.state?.isSQLite != true || !hasCompanions(name, in: folder))
    }

    private func digest(of name: String, in folder: Int32, _ inner: String) throws(CommandFailure) -> [UInt8] {
        let file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else { throw .last("read \(shown(inner))") }
        defer { close(file) }
        let digest = try ContentDigest()
        var chunk = [UInt8](repeating: 0, count: 256 * 1024)
        while true {
            let count = read(file, &chunk, chunk.count)
            if count == 0 { return try digest.finish() }
            if count < 0 {
                if errno == EINTR { continue }
                throw .last("read \(shown(inner))")
            }
            try digest.update(Array(chunk.prefix(count)))
        }
    }

    /// What SQLite keeps beside a database. Source: sqlite.org/tempfiles.html.
    static let companions = ["-wal", "-journal", "-shm"]

    private func hasCompanions(_ name: String, in folder: Int32) -> Bool {
        Self.companions.contains { exists(name + $0, in: folder) }
    }

    func exists(_ name: String, in folder: Int32) -> Bool {
        var status = stat()
        return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0
    }
}

extension CommandFailure {
    /// The system's error, of the call before.
    static func last(_ operation: String) -> CommandFailure { .system(operation, errno) }

    static func system(_ operation: String, _ code: Int32) -> CommandFailure {
        CommandFailure(FileFailure.system(operation: operation, errno: code))
    }
}
