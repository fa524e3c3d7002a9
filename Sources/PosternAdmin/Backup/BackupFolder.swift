// The folder that archives lie in, and what is made there: a file under a hidden name `.postern-….partial` that gets
// its own name when all of it is on the disk. Whatever ends us before leaves the hidden name, which nobody takes for an
// archive and the next create or prune removes. Who still works on one holds a lock on it (flock(2)), which the kernel
// takes away from the dead.

internal import Glibc
internal import PosternDaemon

struct BackupFolder {
    /// As it was given.
    let path: String

    /// Where archives go where nothing else is said.
    static let usual = "/var/backups/postern"
    private static let prefix = ".postern-"
    private static let suffix = ".partial"
    /// Most names that are looked at; a folder with more is some other one.
    private static let maxNames = 100_000

    /// Makes it if it is missing, for us alone; not the folders above it.
    func make() throws(CommandFailure) {
        guard mkdir(path, 0o700) != 0, errno != EEXIST else { return }
        guard errno != ENOENT else {
            throw CommandFailure(.unavailable, "cannot make \(path): the folder that it is to lie in is not there")
        }
        throw CommandFailure(FileFailure.last("make the folder \(path)"))
    }

    // MARK: Names

    /// All names in it.
    func names() throws(CommandFailure) -> [String] {
        guard let listing = opendir(path) else { throw CommandFailure(FileFailure.last("read the folder \(path)")) }
        defer { closedir(listing) }
        let names = FolderNames.read(listing, atMost: Self.maxNames + 1)
        guard names.count <= Self.maxNames else {
            throw CommandFailure(.unavailable, "\(path): expected at most \(Self.maxNames) files, found more")
        }
        return names
    }

    func path(of name: String) -> String { Files.path(name, below: path) }

    /// A hidden name that is nobody's.
    static func hiddenName() -> String {
        prefix + "\(getpid())-" + String(UInt32.random(in: .min ... .max), radix: 36) + suffix
    }

    /// Removes what crashes have left.
    /// - Returns: how many.
    @discardableResult
    func removeLeftovers() throws(CommandFailure) -> Int {
        var count = 0
        for name in try names() where name.hasPrefix(Self.prefix) && name.hasSuffix(Self.suffix) {
            let file = open(path(of: name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            guard file >= 0 else { continue }  // another has just removed it, or it is not ours to read
            defer { close(file) }
            var status = stat()
            guard flock(file, LOCK_EX | LOCK_NB) == 0, fstat(file, &status) == 0, status.st_uid == geteuid() else {
                continue  // somebody works on it
            }
            if status.st_mode & S_IFMT == S_IFDIR {
                BackupScratch.remove(path(of: name))
            } else {
                unlink(path(of: name))
            }
            if !Files.exists(path(of: name)) { count += 1 }
        }
        return count
    }

    /// Brings names in it to the disk.
    func sync() throws(CommandFailure) {
        let file = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard file >= 0 else { throw CommandFailure(FileFailure.last("open the folder \(path)")) }
        defer { close(file) }
        guard fsync(file) == 0 else { throw CommandFailure(FileFailure.last("write the folder \(path)")) }
    }
}

/// An archive's file under its hidden name.
final class PartialArchive {
    private let folder: BackupFolder
    private let name: String
    private let descriptor: Int32
    private var isPlaced = false
    private(set) var octets = 0

    init(in folder: BackupFolder) throws(CommandFailure) {
        self.folder = folder
        name = BackupFolder.hiddenName()
        let path = folder.path(of: name)
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw CommandFailure(FileFailure.last("write in \(folder.path)")) }
        // Who cleans up at this very moment was quicker: then it is gone, and placing it fails.
        _ = flock(descriptor, LOCK_EX | LOCK_NB)
        fchmod(descriptor, 0o600)  // whatever the umask
    }

    deinit {
        if !isPlaced { unlink(folder.path(of: name)) }
        close(descriptor)
    }

    func write(_ octets: [UInt8]) throws(CommandFailure) {
        guard WholeWrite.put(octets, into: descriptor) else {
            throw CommandFailure(FileFailure.last("write the archive in \(folder.path)"))
        }
        self.octets += octets.count
    }

    /// Brings it to the disk and gives it its name.
    /// - Parameter isSynced: called when it is on the disk and has no name yet.
    func place(as final: String, isSynced: () -> Void) throws(CommandFailure) {
        guard fsync(descriptor) == 0 else {
            throw CommandFailure(FileFailure.last("write the archive in \(folder.path)"))
        }
        isSynced()
        let (from, to) = (folder.path(of: name), folder.path(of: final))
        // link(2) never replaces; some file systems know no second name.
        if link(from, to) == 0 {
            unlink(from)
        } else {
            if errno == EEXIST {
                throw CommandFailure(.unavailable, "\(to) is there already, another backup of this second; try again")
            }
            guard !Files.exists(to), rename(from, to) == 0 else {
                throw CommandFailure(FileFailure.last("make \(to)"))
            }
        }
        isPlaced = true
        try folder.sync()
    }
}

/// A folder of our own for copies, which goes with this object.
final class BackupScratch {
    let path: String
    private let descriptor: Int32

    /// - Parameter folder: nil for that of temporary files.
    init(in folder: BackupFolder?) throws(CommandFailure) {
        let place = folder ?? BackupFolder(path: Self.temporaryFolder)
        path = place.path(of: BackupFolder.hiddenName())
        guard mkdir(path, 0o700) == 0 else { throw CommandFailure(FileFailure.last("make the folder \(path)")) }
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw CommandFailure(FileFailure.last("open the folder \(path)")) }
        _ = flock(descriptor, LOCK_EX | LOCK_NB)
    }

    deinit {
        Self.remove(path)
        close(descriptor)
    }

    /// For large files: /tmp may be memory. Source: file-hierarchy(7).
    static var temporaryFolder: String {
        guard let text = getenv("TMPDIR").map({ String(cString: $0) }), text.hasPrefix("/") else { return "/var/tmp" }
        return text
    }

    /// Removes a folder with all that is in it. What cannot be removed is left for the next one that looks.
    static func remove(_ path: String) { ScratchTree.remove(path) }
}
