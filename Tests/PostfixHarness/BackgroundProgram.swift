// A program that runs beside a test until its owner ends: postern metrics, Prometheus. Its outputs are collected.

import Foundation
import Glibc

public final class BackgroundProgram: Sendable {
    public let name: String
    private let child: ChildProcess
    private let folder: TemporaryFolder
    private let guardian: Guardian
    private let output: GrowingFile<String>

    /// - Parameter program: an absolute path.
    /// - Parameter isReady: is asked, with the lines so far, until it says so.
    public init(
        _ program: String, _ arguments: [String], environment: [String: String] = [:],
        until isReady: ([String]) throws -> Bool
    ) throws {
        name = program.split(separator: "/").last.map(String.init) ?? program
        folder = try TemporaryFolder()
        let file = folder.file("output")
        let output = GrowingFile(file) { String($0) }
        let child = try ChildProcess(
            program, arguments, environment: environment, output: file.path, errors: file.path)
        (self.output, self.child) = (output, child)
        guardian = try Guardian(onDeath: "kill -KILL \(child.pid); rm -rf \(folder.path)")
        do {
            try Await.until("\(name) to be ready", context: { output.lines.joined(separator: "\n") }) {
                if let status = child.exitStatus {
                    throw HarnessError("\(name) ended with \(status):\n\(output.lines.joined(separator: "\n"))")
                }
                return try isReady(output.lines)
            }
        } catch {
            end()
            throw error
        }
    }

    deinit { end() }

    /// What it printed so far.
    public var lines: [String] { output.lines }

    /// Asks it to stop and waits for its end.
    /// - Returns: its exit status.
    @discardableResult
    public func stop() throws -> Int32 {
        child.send(signal: SIGTERM)
        return try child.wait()
    }

    private func end() {
        child.send(signal: SIGKILL)
        _ = try? child.wait()  // SIGKILL cannot be refused
        guardian.dismiss()
    }
}
