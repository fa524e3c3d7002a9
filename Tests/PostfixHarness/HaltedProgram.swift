// Programs that end on the spot before a step of the test's choice, as by kill -9 or a power cut that the kernel
// survives: Tests/Preloaded/halt.c, built with the clang that comes with Swift, and preloaded.

import Foundation

public final class HaltedProgram: Sendable {
    private let folder: TemporaryFolder
    /// Of a process that SIGKILL has ended, as ChildProcess tells it.
    public static let killed: Int32 = 137

    public init() throws {
        folder = try TemporaryFolder()
        let source = SourceTree.root.appending(path: "Tests/Preloaded/halt.c").path
        let built = try Program.run("clang", ["-O1", "-Wall", "-shared", "-fPIC", "-o", library, source])
        guard built.status == 0 else { throw HarnessError("clang: \(built.errors)") }
    }

    private var library: String { folder.file("halt.so").path }

    /// Runs a program up to its Nth call that changes files, from 1; to its end, if it makes fewer.
    /// - Parameter exchanges: false: on a file system that cannot let two names change places.
    public func run(
        _ program: String, _ arguments: [String], until call: Int, exchanges: Bool = true
    ) throws -> ProgramResult {
        var environment = ["LD_PRELOAD": library, "POSTERN_TEST_HALT": "\(call)"]
        if !exchanges { environment["POSTERN_TEST_NO_EXCHANGE"] = "1" }
        return try Program.run(program, arguments, environment: environment)
    }
}
