// A folder of a test's own, removed with its owner. Its path is short: UNIX socket paths end at 107 octets (unix(7)).

public import Foundation
import Glibc

public final class TemporaryFolder: Sendable {
    public let url: URL
    private let guardian: Guardian?

    /// - Parameter isGuarded: for an owner that lives as long as the process, which does not end its globals.
    public init(isGuarded: Bool = false) throws {
        var template = Array("/tmp/pstn-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw HarnessError.system("mkdtemp") }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        chmod(path, 0o755)  // Postfix's processes and the daemons' users go through it
        url = URL(filePath: path, directoryHint: .isDirectory)
        guardian = isGuarded ? try Guardian(onDeath: "rm -rf \(path)") : nil
    }

    deinit {
        try? FileManager.default.removeItem(at: url)  // a file left in /tmp is no reason to fail a test
        guardian?.dismiss()
    }

    public var path: String { url.path }
    public func file(_ name: String) -> URL { url.appending(path: name) }

    /// Writes a file below the folder, and the folders that it needs.
    @discardableResult
    public func write(_ name: String, _ octets: [UInt8], mode: mode_t = 0o644) throws -> URL {
        let file = file(name)
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(octets).write(to: file)
        chmod(file.path, mode)
        return file
    }

    @discardableResult
    public func write(_ name: String, _ text: String, mode: mode_t = 0o644) throws -> URL {
        try write(name, Array(text.utf8), mode: mode)
    }

    public func read(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: file(name))) }

    public func text(_ name: String) throws -> String { String(decoding: try read(name), as: UTF8.self) }
}
