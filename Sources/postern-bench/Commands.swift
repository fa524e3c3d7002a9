// The command line of postern-bench.

import Foundation
import PosternAuth
import PosternMail
import TestSupport

enum Commands {
    static func run(_ words: [String]) throws {
        switch words.first {
        case "list": for bench in try Cases.all() { print("\(bench.name)  \(bench.about)") }
        case "run": try runCases(Array(words.dropFirst()))
        case "corpus":
            guard let folder = words.dropFirst().first else { throw BenchError.usage("corpus wants a directory") }
            try CorpusFiles.write(to: folder)
        case "dns-hits": try DNSCacheCases.printHitRates()
        case "dns-memory": try DNSCacheCases.printMemory()
        case "dns": try dns(Options(words.dropFirst()))
        case "milter": try milter(Options(words.dropFirst()))
        case "policy": try PolicyCommands.load(Options(words.dropFirst()))
        case "policy-door": try PolicyCommands.serve(Options(words.dropFirst()))
        case "greylist-fill": try PolicyCommands.fill(Options(words.dropFirst()))
        case "idle": try idle(Options(words.dropFirst()))
        case "cpu": try cpu(Array(words.dropFirst()))
        case "--help", "-h", nil: print(PosternBench.help, terminator: "")
        case let word?: throw BenchError.usage("unknown command \(word)")
        }
    }

    private static func runCases(_ prefixes: [String]) throws {
        print("case".padded(34) + "median us".padded(12) + "p99 us".padded(12) + "MB/s")
        for bench in try Cases.all() where prefixes.isEmpty || prefixes.contains(where: bench.name.hasPrefix) {
            let result = try bench.run()
            let rate = result.octets > 0 ? format(Double(result.octets) / result.median, 1) : ""
            print(
                bench.name.padded(34) + format(result.median, 2).padded(12)
                    + format(result.percentile(0.99), 2).padded(12) + rate)
        }
    }

    private static func dns(_ options: Options) throws {
        var load = try DNSLoad(socket: try options.needed("--socket"), file: try options.needed("--names"))
        load.count = try options.number("--queries") ?? load.count
        load.window = try options.number("--window") ?? load.window
        load.processes = try options.numbers("--pid")
        try load.run()
    }

    private static func milter(_ options: Options) throws {
        let octets = [UInt8](try Data(contentsOf: URL(filePath: options.needed("--message"))))
        var load = MilterLoad(socket: try options.needed("--socket"), message: MessageText(octets: octets))
        load.clientAddress = options.value("--client") ?? load.clientAddress
        load.sessions = try options.number("--sessions") ?? load.sessions
        load.messages = try options.number("--messages") ?? load.messages
        load.messagesPerConnection = try options.number("--per-connection") ?? load.messagesPerConnection
        load.processes = try options.numbers("--pid")
        load.expected = options.value("--expect")
        let result = try load.run()
        let parts = zip(result.cpu, result.residentKiB).map {
            "pid \($0.pid) \(format($0.microseconds, 0)) us \($1.kibibytes) KiB"
        }
        print(
            "\(result.messages) messages, \(format(Double(result.messages) / result.seconds, 0))/s, CPU \(format(result.total, 0)) us/message (\(parts.joined(separator: "; ")))"
        )
    }

    /// Memory with many connections open and idle, each in the middle of a session.
    private static func idle(_ options: Options) throws {
        let path = try options.needed("--socket")
        let count = try options.number("--connections") ?? 100
        let processes = try options.numbers("--pid")
        let clients = try (0..<count).map { _ in
            let client = try MilterClient(path: path)
            try client.negotiate()
            try client.connect(name: "mx.example.org", address: "192.0.2.7")
            try client.mail("ann@example.org")
            return client
        }
        for pid in processes {
            print("\(clients.count) connections: pid \(pid) \(ProcessAccount.residentKiB(pid) ?? 0) KiB")
        }
        for client in clients { try client.quit() }
    }

    /// Runs a command, and tells the CPU that other processes used meanwhile, for each of `--messages`.
    private static func cpu(_ words: [String]) throws {
        let parts = words.split(separator: "--", maxSplits: 1, omittingEmptySubsequences: false)
        guard let options = try parts.first.map({ try Options($0) }), let command = parts.dropFirst().first,
            let program = command.first
        else { throw BenchError.usage("cpu wants OPTIONS -- COMMAND") }
        let processes = try options.numbers("--pid")
        let messages = Double(try options.number("--messages") ?? 1)
        func used() -> [Double] {
            processes.map { ProcessAccount.tree($0).compactMap(ProcessAccount.cpuSeconds).reduce(0, +) }
        }
        let before = used()
        let start = Date()
        let child = Process()
        child.executableURL = URL(filePath: program)
        child.arguments = Array(command.dropFirst())
        try child.run()
        child.waitUntilExit()
        guard child.terminationStatus == 0 else {
            throw BenchError.system("\(program) ended with \(child.terminationStatus)")
        }
        let seconds = Date().timeIntervalSince(start)
        let each = zip(before, used()).map { ($1 - $0) * 1_000_000 / messages }
        print("\(format(messages / seconds, 0))/s, CPU \(format(each.reduce(0, +), 0)) us/message")
    }

    static func format(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
}

/// `--name value` pairs.
struct Options {
    private var pairs: [(String, String)] = []

    init(_ words: some Sequence<String>) throws {
        var words = words.makeIterator()
        while let name = words.next() {
            guard name.hasPrefix("--"), let value = words.next() else {
                throw BenchError.usage("expected --NAME VALUE, found \(name)")
            }
            pairs.append((name, value))
        }
    }
    func value(_ name: String) -> String? { pairs.last { $0.0 == name }?.1 }
    func needed(_ name: String) throws -> String {
        guard let value = value(name) else { throw BenchError.usage("\(name) is needed") }
        return value
    }
    func number(_ name: String) throws -> Int? {
        try value(name).map { text in
            guard let number = Int(text), number > 0 else {
                throw BenchError.usage("\(name) wants a number over 0, found \(text)")
            }
            return number
        }
    }
    func numbers(_ name: String) throws -> [Int32] {
        try pairs.filter { $0.0 == name }.map { pair in
            guard let number = Int32(pair.1) else {
                throw BenchError.usage("\(name) wants a process id, found \(pair.1)")
            }
            return number
        }
    }
}

extension String {
    fileprivate func padded(_ width: Int) -> String {
        self + String(repeating: " ", count: Swift.max(1, width - count))
    }
}
