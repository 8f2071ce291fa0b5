// dxc LIBRARY FILE.MODEL.hlsl...: compiles compute shaders, of entry point `main`, for the shader model that each file's name
// tells (cs_6_0), with the arguments that wgpu-hal 30 gives the DirectX shader compiler. Exit code 1 where one failed.
#include "WinAdapter.h"
#include "dxcapi.h"
#include <dlfcn.h>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

static std::string failure(IDxcCompiler3 &compiler, const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::string source{std::istreambuf_iterator<char>(file), {}};
    size_t at = path.rfind(".cs_");
    if (!file || at == std::string::npos)
        return "no file NAME.cs_X_Y.hlsl";
    std::string model = path.substr(at + 1, path.rfind('.') - at - 1);
    std::wstring wide(model.begin(), model.end());
    LPCWSTR arguments[] = {L"-E", L"main", L"-T", wide.c_str(), L"-HV", L"2018", L"-no-warnings", L"-Ges", L"-enable-16bit-types"};
    // wgpu adds the last one for devices with halves, which have 6.2.
    UINT32 count = std::size(arguments) - (model < "cs_6_2");
    DxcBuffer buffer{source.data(), source.size(), DXC_CP_UTF8};
    CComPtr<IDxcResult> result;
    if (FAILED(compiler.Compile(&buffer, arguments, count, nullptr, __uuidof(IDxcResult), (void **)&result)))
        return "the compiler gave no answer";
    // What it says of a success is that the library, which only Windows has, to sign the object is missing.
    HRESULT status = E_FAIL;
    CComPtr<IDxcBlobUtf8> errors;
    result->GetStatus(&status);
    result->GetOutput(DXC_OUT_ERRORS, __uuidof(IDxcBlobUtf8), (void **)&errors, nullptr);
    if (FAILED(status))
        return errors && errors->GetStringLength() ? errors->GetStringPointer() : "no reason given";
    CComPtr<IDxcBlob> object;
    if (FAILED(result->GetOutput(DXC_OUT_OBJECT, __uuidof(IDxcBlob), (void **)&object, nullptr)) || !object || !object->GetBufferSize())
        return "no object";
    return "";
}

int main(int count, char **arguments) {
    void *library = count > 1 ? dlopen(arguments[1], RTLD_NOW) : nullptr;
    auto create = library ? (DxcCreateInstanceProc)dlsym(library, "DxcCreateInstance") : nullptr;
    CComPtr<IDxcCompiler3> compiler;
    if (!create || FAILED(create(CLSID_DxcCompiler, __uuidof(IDxcCompiler3), (void **)&compiler))) {
        fprintf(stderr, "dxc: no compiler in %s\n", count > 1 ? arguments[1] : "no library");
        return 2;
    }
    int failed = 0;
    for (int i = 2; i < count; i++) {
        std::string why = failure(*compiler, arguments[i]);
        if (!why.empty()) {
            failed++;
            fprintf(stderr, "%s: %s\n", arguments[i], why.c_str());
        }
    }
    printf("%d shaders, %d failed\n", count - 2, failed);
    return failed > 0;
}
