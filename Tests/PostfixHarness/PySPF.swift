// The peer pyspf (PyPI), an SPF judge that nobody here wrote. contrib/test puts it into .build-peers/. Many orders go
// to one run of Python, whose start is what costs; its DNS is the zone of the order, so that it asks nobody.

import Foundation

public enum PySPF {
    /// One zone and the transactions that are judged with it.
    public struct Order: Sendable, Encodable {
        /// Values by name and type: `A`, `AAAA`, `MX` (the host), `PTR`, `TXT` (the whole text).
        public var zone: [String: [String: [String]]]
        /// Names that never answer.
        public var failing: [String]
        public var cases: [Case]

        public init(zone: [String: [String: [String]]], failing: [String] = [], cases: [Case]) {
            self.zone = zone
            self.failing = failing
            self.cases = cases
        }
    }
    public struct Case: Sendable, Encodable {
        public var client, helo, sender: String

        public init(client: String, helo: String, sender: String) {
            self.client = client
            self.helo = helo
            self.sender = sender
        }
    }
    public struct Answer: Sendable, Decodable {
        /// `crash` for a traceback.
        public var result: String
        public var explanation: String?
        public var reason: String
    }

    public static func judge(_ orders: [Order]) throws -> [[Answer]] {
        let script = SourceTree.root.appending(path: "Tests/Peers/pyspf_peer.py").path
        let result = try Program.run(try DKIMPy.python(), [script], input: Array(try JSONEncoder().encode(orders)))
        guard result.status == 0 else { throw HarnessError("pyspf: status \(result.status)\n\(result.errors)") }
        return try JSONDecoder().decode([[Answer]].self, from: Data(result.output))
    }
}
