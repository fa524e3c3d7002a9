// A wall clock that a test sets, for a process of its own: Tests/Preloaded/clock.c, built with the clang that comes
// with Swift, and preloaded. The monotonic clock, by which daemons wait, goes on as it is.

import Foundation
import Glibc

public final class FakeClock: Sendable {
    private let folder: TemporaryFolder

    /// It shows the true time at first.
    public init() throws {
        folder = try TemporaryFolder()
        let source = SourceTree.root.appending(path: "Tests/Preloaded/clock.c").path
        let built = try Program.run("clang", ["-O1", "-Wall", "-shared", "-fPIC", "-o", library, source])
        guard built.status == 0 else { throw HarnessError("clang: \(built.errors)") }
        try set(0)
    }

    private var library: String { folder.file("clock.so").path }

    /// Sets it to the true time and so many seconds.
    public func set(_ seconds: Int64) throws {
        let file = open(folder.file("offset").path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw HarnessError.system("open") }
        defer { close(file) }
        var value = seconds
        guard pwrite(file, &value, MemoryLayout<Int64>.size, 0) == MemoryLayout<Int64>.size else {
            throw HarnessError.system("pwrite")
        }
    }

    /// For the process that lives by it.
    public var environment: [String: String] {
        ["LD_PRELOAD": library, "POSTERN_TEST_CLOCK": folder.file("offset").path]
    }
}
