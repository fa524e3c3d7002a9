// What is held of a header, and what is not.

import Testing

@testable import PosternMail

@Suite("a header as it comes in")
struct HeaderCollectorTests {
    /// - Parameter octets: what each field takes on the wire.
    static func collect(_ count: Int, octets: Int) -> HeaderCollector {
        let field = HeaderField("X", String(repeating: "y", count: octets - HeaderField("X", "").octets))
        var collector = HeaderCollector()
        for _ in 0..<count { collector.add(field) }
        return collector
    }

    @Test(
        "all of it is held within the bounds, and nothing over them",
        arguments: [
            (0, 100, true), (1, 100, true),
            (HeaderCollector.maxFields, 6, true), (HeaderCollector.maxFields + 1, 6, false),
            (1024, 1024, true), (1025, 1024, false), (HeaderCollector.maxFields, 1024, false),
            (1, HeaderCollector.maxOctets, true), (1, HeaderCollector.maxOctets + 1, false),
        ])
    func bounds(_ count: Int, _ octets: Int, _ isComplete: Bool) {
        let collector = Self.collect(count, octets: octets)
        #expect(collector.isComplete == isComplete)
        #expect(collector.fields.count == (isComplete ? count : 0))
    }

    @Test("what came too late is seen, and does not begin a new header")
    func late() {
        var collector = Self.collect(HeaderCollector.maxFields + 1, octets: 6)
        #expect(!collector.hasReceived)
        collector.add(HeaderField("received", "by x"))
        #expect(collector.hasReceived && collector.fields.isEmpty && !collector.isComplete)
    }

    @Test("a header at both bounds takes 2 MiB at most")
    func memory() {
        // Two arrays a field: 32 octets each before their elements, rounded up to 16, and the field's own two words.
        let octets =
            HeaderCollector.maxOctets + HeaderCollector.maxFields * (2 * (32 + 16) + MemoryLayout<HeaderField>.size)
        #expect(octets <= 2 * 1024 * 1024)
    }
}
