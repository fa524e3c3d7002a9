// The commands of postern-bench about policy services: a load on one, and a door with nothing behind it.

import Foundation
import PosternAdmission
import PosternMail
import PosternPolicy
import PosternSocket

enum PolicyCommands {
    /// `policy`: loads a service and tells what it did.
    static func load(_ options: Options) throws {
        var load = PolicyLoad(service: try endpoint(options))
        load.connections = try options.number("--connections") ?? load.connections
        load.requests = try options.number("--requests") ?? load.requests
        load.pool = try options.number("--pool") ?? load.pool
        load.seed = try options.number("--seed") ?? load.seed
        load.users = try options.number("--users") ?? load.users
        load.policyContext = options.value("--context") ?? load.policyContext
        load.processes = try options.numbers("--pid")
        load.expected = options.value("--expect")
        if let text = options.value("--new") {
            guard let percent = Int(text), (0...100).contains(percent) else {
                throw BenchError.usage("--new wants a percentage, found \(text)")
            }
            load.newPercent = percent
        }
        if let text = options.value("--stages") {
            load.stages = try text.split(separator: ",").map { word in
                guard let stage = PolicyStage(rawValue: String(word)) else {
                    throw BenchError.usage("--stages wants stages of Postfix's, found \(word)")
                }
                return stage
            }
        }
        tell(try load.run(), load)
    }

    private static func tell(_ result: PolicyLoad.Result, _ load: PolicyLoad) {
        func share(_ part: Double) -> Int32 {
            let count = result.microseconds.count
            return count == 0 ? 0 : result.microseconds[min(count - 1, Int(Double(count) * part))]
        }
        let answers = result.answers.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        let rate = Commands.format(Double(result.requests) / result.seconds, 0)
        print(
            "\(result.requests) requests on \(load.connections) connections, \(rate)/s, median \(share(0.5)) us, "
                + "p99 \(share(0.99)) us; \(answers.joined(separator: ", "))")
        for (cpu, memory) in zip(result.cpu, result.residentKiB) {
            print("pid \(cpu.pid): CPU \(Commands.format(cpu.microseconds, 1)) us/request, \(memory.kibibytes) KiB")
        }
    }

    /// `greylist-fill`: a file's, or a shared store's.
    static func fill(_ options: Options) throws {
        var fill = GreylistFill()
        fill.rows = try options.number("--rows") ?? fill.rows
        if let path = options.value("--file") { return try fill.fill(file: path) }
        guard case .tcp(let host, let port) = try Endpoint("inet:\(options.needed("--redis"))") else {
            throw BenchError.usage("--redis wants HOST:PORT")
        }
        try fill.fill(server: StoreURL.Server(host: host, port: port))
    }

    /// `policy-door`: serves until it is killed.
    static func serve(_ options: Options) throws {
        let server = try PolicyServer(listener: try Socket.listen(endpoint(options)), log: SilentLog()) { _ in
            NoOpinion()
        }
        server.run()
    }

    private static func endpoint(_ options: Options) throws -> Endpoint {
        let text = try options.needed("--socket")
        return try text.hasPrefix("/") ? .unix(path: text) : Endpoint(text)
    }
}

private final class NoOpinion: PolicyTransaction {
    func answer(_ request: PolicyRequest) -> PolicyOutcome { .silent(.dunno) }
}

private struct SilentLog: LogSink {
    func write(_ event: LogEvent) {}
}
