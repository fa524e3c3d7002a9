// swift-tools-version: 6.2
// Postern: small daemons for a stock Postfix. The map of the targets is in README.md.
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

/// A library or test target of ours: every one is built with the same settings.
func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}
func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}
func system(_ name: String, pkgConfig: String, apt: String) -> Target {
    .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([apt])])
}

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")

let package = Package(
    name: "postern",
    products: [
        .executable(name: "postern", targets: ["postern"]),
        .executable(name: "postern-dkim", targets: ["postern-dkim"]),
        .executable(name: "postern-dmarc", targets: ["postern-dmarc"]),
        .executable(name: "postern-dns", targets: ["postern-dns"]),
        .executable(name: "postern-policy", targets: ["postern-policy"]),
        .executable(name: "postern-rate", targets: ["postern-rate"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        // Tests only: the RFC 7208 suite is YAML.
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // Below the line: no sockets, files, clocks or random sources.
        library("PosternMail"),
        library("PosternDNS", ["PosternMail", "CLDNS"]),
        library("PosternAuth", ["PosternMail", "PosternDNS", "COpenSSL"]),
        library("PosternAdmission", ["PosternMail", "PosternDNS"]),
        // Above the line.
        library("PosternSocket", ["PosternMail", "PosternDNS"]),
        library("PosternStore", ["PosternMail", "PosternAdmission", "CSQLite", "CHiredis", "CTLS"]),
        library("PosternMilter", ["PosternMail", "CMilter"]),
        library("PosternPolicy", ["PosternMail", "PosternSocket"]),
        library("PosternForwarder", ["PosternMail", "PosternDNS", nioCore, nioPosix]),
        library("PosternDaemon", ["PosternMail", "PosternDNS", "PosternAuth", "PosternAdmission", "PosternSocket", "CToml"]),
        library("PosternAdmin", ["PosternMail", "PosternDNS", "PosternAuth", "PosternAdmission", "PosternSocket", "PosternStore", "PosternDaemon", "CSPF2", "CZlib", "CArchive", "CLinux", argumentParser]),
        program("postern-dkim", ["PosternMail", "PosternDNS", "PosternAuth", "PosternSocket", "PosternMilter", "PosternDaemon"]),
        program("postern-dmarc", ["PosternMail", "PosternDNS", "PosternAuth", "PosternSocket", "PosternStore", "PosternMilter", "PosternDaemon"]),
        program("postern-policy", ["PosternMail", "PosternDNS", "PosternAdmission", "PosternStore", "PosternSocket", "PosternPolicy", "PosternDaemon"]),
        program("postern-rate", ["PosternMail", "PosternAdmission", "PosternStore", "PosternSocket", "PosternPolicy", "PosternDaemon"]),
        program("postern-dns", ["PosternMail", "PosternDNS", "PosternAdmission", "PosternSocket", "PosternForwarder", "PosternDaemon"]),
        program("postern", ["PosternAdmin"]),
        program("postern-bench", ["PosternAuth", "PosternAdmission", "PosternDNS", "PosternMail", "PosternPolicy", "PosternSocket", "PosternStore", "TestSupport"]),
        // The C libraries.
        system("CMilter", pkgConfig: "milter", apt: "libmilter-dev"),
        system("COpenSSL", pkgConfig: "libcrypto", apt: "libssl-dev"),
        system("CLDNS", pkgConfig: "ldns", apt: "libldns-dev"),
        .systemLibrary(name: "CSPF2", providers: [.apt(["libspf2-dev"])]),  // no pkg-config file
        system("CSQLite", pkgConfig: "sqlite3", apt: "libsqlite3-dev"),
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),  // its pkg-config flags are prohibited here
        system("CTLS", pkgConfig: "libssl", apt: "libssl-dev"),
        system("CZlib", pkgConfig: "zlib", apt: "zlib1g-dev"),
        .target(name: "CArchive", linkerSettings: [.linkedLibrary("archive")]),  // apt: libarchive-dev
        .systemLibrary(name: "CLinux"),  // a header only
        .target(name: "CToml", cxxSettings: [.define("TOML_EXCEPTIONS", to: "0")]),
        // Tests, and what they share.
        .target(name: "TestSupport", dependencies: ["PosternMail", "PosternDNS"], path: "Tests/Support", swiftSettings: settings),
        .target(
            name: "AdmissionSupport", dependencies: ["PosternAdmission", "PosternMail"], path: "Tests/AdmissionSupport",
            swiftSettings: settings),
        .executableTarget(
            name: "store-load", dependencies: ["PosternStore", "PosternAdmission", "PosternSocket", "PosternMail"],
            path: "Tests/StoreLoad", swiftSettings: settings),
        .target(name: "PostfixHarness", dependencies: [], path: "Tests/PostfixHarness", swiftSettings: settings),
        tests("PosternMailTests", ["PosternMail", "TestSupport"]),
        tests("PosternDNSTests", ["PosternDNS", "PosternMail", "CLDNS", "TestSupport"]),
        tests("PosternAdmissionTests", ["PosternAdmission", "PosternDNS", "PosternMail", "TestSupport", "AdmissionSupport"]),
        tests("PosternAuthTests", ["PosternAuth", "PosternAdmin", "PosternDNS", "PosternMail", "TestSupport", "PostfixHarness", yams]),
        tests("PosternSocketTests", ["PosternSocket", "PosternDNS", "PosternMail", "TestSupport"]),
        tests(
            "PosternStoreTests",
            ["PosternStore", "PosternAdmission", "PosternMail", "TestSupport", "AdmissionSupport", "PostfixHarness", "store-load"]),
        tests("PosternMilterTests", ["PosternMilter", "PosternMail", "TestSupport"]),
        tests("PosternPolicyTests", ["PosternPolicy", "PosternSocket", "PosternMail", "TestSupport"]),
        tests(
            "PosternForwarderTests",
            [
                "PosternForwarder", "PosternSocket", "PosternDNS", "PosternMail", "TestSupport", nioCore, nioEmbedded,
            ]),
        tests("PosternDaemonTests", ["PosternDaemon", "PosternAuth", "PosternAdmission", "PosternSocket", "PosternDNS", "PosternMail", "TestSupport"]),
        tests("PosternAdminTests", ["PosternAdmin", "PosternStore", "PosternDaemon", "PosternAuth", "PosternAdmission", "PosternSocket", "PosternDNS", "PosternMail", "TestSupport", "PostfixHarness"]),
        tests("SigningFilterTests", ["postern-dkim", "PosternDaemon", "PosternMilter", "PosternAuth", "PosternDNS", "PosternMail", "TestSupport"]),
        tests("JudgingFilterTests", ["postern-dmarc", "PosternDaemon", "PosternMilter", "PosternAuth", "PosternSocket", "PosternDNS", "PosternMail", "TestSupport"]),
        tests("PolicyDaemonTests", ["postern-policy", "PosternPolicy", "PosternDaemon", "PosternAdmission", "PosternDNS", "PosternMail", "TestSupport", "AdmissionSupport"]),
        tests("RateDaemonTests", ["postern-rate", "PosternPolicy", "PosternDaemon", "PosternAdmission", "PosternMail", "TestSupport"]),
        tests("DNSDaemonTests", ["postern-dns", "PosternForwarder", "PosternDaemon", "PosternDNS", "PosternMail", "TestSupport"]),
        tests("EndToEndTests", ["PostfixHarness", "TestSupport"]),
    ],
    cxxLanguageStandard: .cxx17
)

// libFuzzer brings a main of its own, so this one is built by contrib/fuzz only.
if Context.environment["POSTERN_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "postern-fuzz",
            dependencies: [
                "PosternMail", "PosternDNS", "PosternAuth", "PosternAdmission", "PosternMilter", "PosternPolicy", "PosternDaemon",
                "PosternAdmin", "PosternStore", "AdmissionSupport", "TestSupport",
            ],
            path: "Tests/Fuzz", exclude: ["corpus.py"],
            swiftSettings: settings + [.unsafeFlags(["-parse-as-library"])]))
}
