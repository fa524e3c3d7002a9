// A disk that is full or read-only, as it is: a small tmpfs of a test's own. Only root can mount one, and not in every
// container. Source: mount(2), tmpfs(5).

public import Foundation
import Glibc

public final class SmallDisk: Sendable {
    public let folder: TemporaryFolder
    private let size: String
    private let guardian: Guardian

    /// Root in a container may be nobody to the kernel.
    public static let isPossible = (try? SmallDisk()) != nil

    public init(size: String = "512k") throws {
        folder = try TemporaryFolder()
        self.size = size
        let path = folder.path
        guard mount("none", path, "tmpfs", 0, "size=\(size)") == 0 else { throw HarnessError.system("mount") }
        guardian = try Guardian(onDeath: "umount -l \(path); rmdir \(path)")
    }
    deinit {
        umount2(folder.path, CInt(MNT_DETACH))
        guardian.dismiss()
    }

    public var url: URL { folder.url }

    /// Takes all that is left.
    public func fill() throws {
        let file = open(folder.file("filler").path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        guard file >= 0 else { throw HarnessError.system("open") }
        let block = [UInt8](repeating: 0, count: 4096)
        while write(file, block, block.count) > 0 {}
        close(file)
    }

    public func empty() throws { try FileManager.default.removeItem(at: folder.file("filler")) }

    /// All files can be read, none written. A program that another test starts has all of our files open until it runs
    /// its own, and no disk becomes read-only as long as a file on it may be written to: that is waited for.
    public func remount(readOnly: Bool) throws {
        let flags = UInt(MS_REMOUNT) | (readOnly ? UInt(MS_RDONLY) : 0)
        try Await.until("nobody to have a file of \(folder.path) open") {
            if mount("none", folder.path, "tmpfs", flags, "size=\(size)") == 0 { return true }
            guard errno == EBUSY else { throw HarnessError.system("mount") }
            return false
        }
    }
}
