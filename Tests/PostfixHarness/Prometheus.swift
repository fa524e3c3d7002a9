// Debian's Prometheus as a process of a test's own: a high port on loopback, a folder of its own, nothing of the machine's
// configuration. Asked by promtool, over its HTTP API.

import Foundation
import Glibc

public final class Prometheus: Sendable {
    public let port: UInt16
    private let folder: TemporaryFolder
    private let server: BackgroundProgram

    public static let programs = ["/usr/bin/prometheus", "/usr/bin/promtool"]
    /// Whether both are there. contrib/test demands it.
    public static var isAvailable: Bool {
        ProcessInfo.processInfo.environment["POSTERN_TEST_ALL"] != nil
            || programs.allSatisfy { access($0, X_OK) == 0 }
    }

    /// - Parameter configuration: the text of prometheus.yml; `SELF` in it becomes its own address.
    public init(configuration: String) throws {
        port = try FreePort.tcp()
        folder = try TemporaryFolder(isGuarded: true)
        let file = try folder.write(
            "prometheus.yml", configuration.replacingOccurrences(of: "SELF", with: "127.0.0.1:\(port)"))
        server = try BackgroundProgram(
            "/usr/bin/prometheus",
            [
                "--config.file=\(file.path)", "--storage.tsdb.path=\(folder.path)/data",
                "--web.listen-address=127.0.0.1:\(port)", "--log.level=warn",
            ],
            until: { [port] _ in
                try Self.promtool(["query", "instant", "http://127.0.0.1:\(port)", "vector(1)"]).status == 0
            })
    }

    /// One result of a query.
    public struct Result: Sendable {
        public let labels: [String: String]
        public let value: Double
    }

    /// Asks now.
    /// - Throws: what promtool says of a query that is wrong.
    public func query(_ expression: String) throws -> [Result] {
        let result = try Self.promtool(["query", "instant", "-o", "json", "http://127.0.0.1:\(port)", expression])
        guard result.status == 0 else { throw HarnessError("\(expression): \(result.errors)\(result.text)") }
        let rows = try JSONSerialization.jsonObject(with: Data(result.output)) as? [[String: Any]] ?? []
        return rows.map { row in
            let value = (row["value"] as? [Any])?.last as? String
            return Result(
                labels: row["metric"] as? [String: String] ?? [:], value: value.flatMap { Double($0) } ?? .nan)
        }
    }

    /// Runs promtool.
    public static func promtool(_ arguments: [String], input: [UInt8]? = nil) throws -> ProgramResult {
        try Program.run("/usr/bin/promtool", arguments, input: input)
    }
}
