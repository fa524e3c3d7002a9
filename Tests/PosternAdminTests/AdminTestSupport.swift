// How these tests run a command line: as a function, with a folder of their own, a zone, a clock and a key's owner of
// their choice. Nothing is printed and no process is started.

import Foundation
import Glibc
import PosternDNS
import PosternDaemon
import PosternMail
import TestSupport

@testable import PosternAdmin

/// A folder that goes with its owner.
final class Folder: Sendable {
    let path: String

    init() throws {
        var template = Array((NSTemporaryDirectory() + "/postern-admin-XXXXXX").utf8CString)
        guard let made = mkdtemp(&template) else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        path = String(cString: made)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }  // what stays behind is the system's to clean

    func file(_ name: String) -> String { "\(path)/\(name)" }

    @discardableResult func write(_ text: String, to name: String) throws -> String {
        try write(Array(text.utf8), to: name)
    }
    @discardableResult func write(_ octets: [UInt8], to name: String) throws -> String {
        try Data(octets).write(to: URL(filePath: file(name)))
        return file(name)
    }
    func read(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(filePath: file(name)))) }
    var names: [String] { get throws { try FileManager.default.subpathsOfDirectory(atPath: path).sorted() } }
}

/// `postern` in surroundings of a test.
struct Postern {
    var zone = ""
    var failing: Set<DomainName> = []
    var input: [UInt8] = []
    var now = UnixTime(seconds: 1_795_000_000)
    var owner = KeyOwner.caller(reason: "this is a test")
    var reader = UserIdentity.current
    var systemResolvers: [IPAddress] = []
    var postfixFiles: (main: String, master: String)?
    var pause: (Duration) -> Void = { _ in }
    /// What standard output takes before it is full.
    var room = Int.max
    /// Whether standard output is a terminal.
    var writesToTerminal = false
    /// Between the steps of a backup.
    var reached: (String) -> Void = { _ in }
    /// What who sits at the terminal says; nil where nobody does.
    var answer: String?
    /// Whether a signal has come that ends a command.
    var isInterrupted: @Sendable () -> Bool = { false }

    /// What a command line leads to.
    func callAsFunction(_ arguments: String...) throws -> Result { try run(arguments) }

    func run(_ arguments: [String]) throws -> Result {
        let resolver = try ZoneResolver(zone: zone, failing: failing)
        let asked = Asked()
        let surroundings = Surroundings(
            readInput: { limit throws(FileFailure) in
                guard input.count <= limit else { throw .tooLarge(name: "standard input", cap: limit) }
                return input
            },
            now: { now },
            dns: { place, _ in
                asked.resolvers.append(place)
                return resolver
            },
            keyOwner: { owner }, keyReader: { reader }, systemResolvers: { systemResolvers },
            postfixFiles: { postfixFiles.map { (Array($0.main.utf8), Array($0.master.utf8)) } },
            write: { octets throws(CommandFailure) in
                asked.written += octets
                if asked.written.count > room { throw .unwritten("no space left") }
            }, tell: { asked.told.append($0) }, writesToTerminal: { writesToTerminal }, reached: reached, pause: pause,
            ask: { _ in answer }, interruption: { isInterrupted })
        var output = AdminCommandLine.output(of: arguments, in: surroundings)
        // What was written at once stands before the rest.
        output.octets = asked.written + output.octets
        output.notes = asked.told + output.notes
        return Result(output: output, resolvers: asked.resolvers, questions: resolver.asked)
    }

    private final class Asked {
        var resolvers: [Resolver] = []
        var written: [UInt8] = []
        var told: [String] = []
    }

    struct Result {
        let output: CommandOutput
        /// Whom it wanted to ask.
        let resolvers: [Resolver]
        let questions: [Question]

        var text: String { String(decoding: output.octets, as: UTF8.self) }
        var status: Int32 { output.status.rawValue }
        var notes: String { output.notes.joined(separator: "\n") }

        /// Standard output as JSON, which must be one line.
        func json() throws -> [String: Any] {
            guard text.hasSuffix("\n"), text.dropLast().firstIndex(of: "\n") == nil else {
                throw NotOneLine(text: text)
            }
            return try JSONSerialization.jsonObject(with: Data(output.octets)) as? [String: Any] ?? [:]
        }
    }
    struct NotOneLine: Error { let text: String }
}

/// A message by its lines.
func message(_ lines: String..., lineEnd: String = "\r\n") -> [UInt8] {
    Array((lines.joined(separator: lineEnd) + lineEnd).utf8)
}

let plain = message(
    "From: Ann <ann@example.com>", "To: bo@example.net", "Subject: a word", "Date: Sat, 21 Nov 2026 02:00:00 +0000", "",
    "Hello Bo,", "", "until  then.", "")
