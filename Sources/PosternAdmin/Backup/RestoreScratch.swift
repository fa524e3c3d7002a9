// The end of a scratch folder: it may hold private keys, so all of it goes. No link in it is followed.

internal import Glibc

enum ScratchTree {
    /// Folders within folders; paths of archives have fewer.
    private static let maxDepth = 80
    /// Names in one folder; an archive has fewer files.
    private static let maxNames = 100_000

    /// Removes a folder with all that is in it. What cannot be removed stays.
    static func remove(_ path: String) {
        let parent = open(Files.folder(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { return }
        defer { close(parent) }
        remove(RestorePlan.name(of: path), in: parent, depth: 0)
    }

    private static func remove(_ name: String, in parent: Int32, depth: Int) {
        let folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard folder >= 0, depth < maxDepth, let stream = fdopendir(folder) else {
            if folder >= 0 { close(folder) }
            return
        }
        for inner in FolderNames.read(stream, atMost: maxNames) where unlinkat(folder, inner, 0) != 0 {
            remove(inner, in: folder, depth: depth + 1)
        }
        closedir(stream)
        unlinkat(parent, name, AT_REMOVEDIR)
    }
}
